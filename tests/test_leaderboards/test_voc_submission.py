"""PASCAL VOC detection archives: what is written scores as it should, and faults are named."""
import gzip
import io
import tarfile
import warnings

import numpy as np
import pytest
from PIL import Image

from projects.leaderboards import SubmissionError, load_results, validate, write

VOC_CLASSES = ('aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse '
               'motorbike person pottedplant sheep sofa train tvmonitor').split()
PATTERN = 'results/VOC2012/Main/comp4_det_test_{}.txt'
OWN = ['cat', 'dog']


@pytest.fixture
def results(prediction):
    """Two images of 200 x 100 pixels; one box fills its image."""
    return [
        prediction('2008_000002', [[0, 0, 200, 100], [10.5, 20, 30, 40]], [.9, .25], [19, 14]),
        prediction('2008_000001', [[1, 2, 3, 4]], [.5], [14])]


@pytest.fixture
def image_set(tmp_path):
    path = tmp_path / 'test.txt'
    path.write_text('2008_000001\n2008_000002 -1\n')
    return path


@pytest.fixture
def image_dir(tmp_path):
    folder = tmp_path / 'JPEGImages'
    folder.mkdir()
    for name in ('2008_000001', '2008_000002'):
        Image.new('RGB', (200, 100)).save(folder / f'{name}.jpg')
    return folder


def read_archive(path):
    with tarfile.open(path, 'r:gz') as archive:
        return {member.name: archive.extractfile(member).read().decode() for member in archive}


def make_archive(path, files, mode='w:gz'):
    with tarfile.open(path, mode) as archive:
        for name, text in files:
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def own_files(text=''):
    """A file for each of two classes, the first with ``text``."""
    return [(PATTERN.format('cat'), text), (PATTERN.format('dog'), '')]


# ---- writing

def test_files_lines_and_one_based_boxes(tmp_path, results, image_set, image_dir, dump):
    loaded = load_results(dump(results, tmp_path / 'preds.pkl'))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        path = write('voc-det', loaded, tmp_path / 'out', name='alg', image_set=image_set)
    assert path.name == 'comp4_det_test_alg.tar.gz'
    files = read_archive(path)
    assert list(files) == [PATTERN.format(name) for name in VOC_CLASSES]
    assert files[PATTERN.format('tvmonitor')] == '2008_000002 0.90000 1.00 1.00 201.00 101.00\n'
    assert files[PATTERN.format('person')] == ('2008_000001 0.50000 2.00 3.00 4.00 5.00\n'
                                               '2008_000002 0.25000 11.50 21.00 31.00 41.00\n')
    assert sum(map(bool, files.values())) == 2
    report = validate('voc-det', path, image_set=image_set, image_dir=image_dir)
    assert (report.entries, report.images) == (3, 2)
    assert len(report.warnings) == 1 and 'no detection of aeroplane, bicycle' in report.warnings[0]


def test_exported_ground_truth_scores_one(tmp_path, prediction):
    eval_map = pytest.importorskip('mmdet.evaluation.functional').eval_map
    rng = np.random.default_rng(0)
    truth, results = {}, []
    for number in range(6):
        corners = rng.uniform(0, 90, (5, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(4, 100, (5, 2))], axis=1)
        boxes = boxes.clip(0, [200, 100, 200, 100]).astype(np.float32)
        labels = rng.integers(0, 2, 5)
        truth[f'{number:06d}'] = dict(bboxes=boxes, labels=labels)
        results.append(prediction(f'{number:06d}', boxes.tolist(), rng.random(5), labels))
    files = read_archive(write('voc-det', results, tmp_path, name='alg', classes=OWN))
    found = {name: [[], []] for name in truth}
    for label, name in enumerate(OWN):
        for line in files[PATTERN.format(name)].splitlines():
            image, score, *box = line.split(' ')
            found[image][label].append([float(number) - 1 for number in box] + [float(score)])
    found = {name: [np.array(rows, np.float32).reshape(-1, 5) for rows in columns]
             for name, columns in found.items()}
    mean_ap, _ = eval_map([found[name] for name in truth], list(truth.values()), iou_thr=.95,
                          dataset=OWN, logger='silent', eval_mode='area', nproc=1,
                          use_legacy_coordinate=True)
    assert mean_ap == pytest.approx(1.0)


def test_archive_bytes_depend_on_the_predictions_only(tmp_path, results):
    first = write('voc-det', results, tmp_path / 'a', name='alg')
    second = write('voc-det', results[::-1], tmp_path / 'b', name='alg')
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[4:8] == bytes(4)  # the time in the gzip header
    assert {member.mtime for member in tarfile.open(first)} == {0}
    assert [p.name for p in (tmp_path / 'a').iterdir()] == [first.name]


def test_options_decide_names_and_classes(tmp_path, prediction):
    results = [prediction(4, [[1, 1, 9, 9]], [.5], [1], img_path='VOC2007/JPEGImages/000004.jpg')]
    path = write('voc-det', results, tmp_path, name='alg', competition='comp3', year='2007',
                 split='val', classes=OWN)
    assert path.name == 'comp3_det_val_alg.tar.gz'
    assert read_archive(path) == {
        'results/VOC2007/Main/comp3_det_val_cat.txt': '',
        'results/VOC2007/Main/comp3_det_val_dog.txt': '000004 0.50000 2.00 2.00 10.00 10.00\n'}
    report = validate('voc-det', path, competition='comp3', year='2007', split='val', classes=OWN)
    assert report.entries == 1


def test_boxes_are_clipped_dropped_and_counted(tmp_path, prediction):
    boxes = [[-5, 10, 20, 130], [250, 10, 260, 20], [3, 3, 3.001, 9]]
    results = [prediction('a', boxes, [.5, .4, .3], [0, 0, 0])]
    with pytest.warns(UserWarning) as notes:
        path = write('voc-det', results, tmp_path, name='alg', classes=OWN)
    assert read_archive(path)[PATTERN.format('cat')] == 'a 0.50000 1.00 11.00 21.00 101.00\n'
    texts = ' '.join(str(note.message) for note in notes)
    assert '2 boxes reached out' in texts and '2 boxes without width or height' in texts


@pytest.mark.parametrize('changes, options, message', [
    (dict(img_id='2009_1'), {}, "must be in the image set.*'2009_1'"),
    (dict(img_id='2008_000001'), {}, "an image appears more than once.*'2008_000001'"),
    (dict(img_id='2008 2'), {}, "a word without spaces.*'2008 2'"),
    (dict(img_id=3), {}, 'a word without spaces'),
    ({}, dict(classes=OWN), r'labels must be 0\.\.1 for 2 classes'),
    ({}, dict(classes=['red cell', 'dog']), "option classes: .*'red cell'"),
    ({}, dict(classes=['dog', 'dog']), "option classes: .*'dog'.* distinct"),
    ({}, dict(competition='comp5'), "option competition: 'comp5'; expected comp3"),
    ({}, dict(name='my alg'), "option name: 'my alg'"),
    ({}, dict(image_set='absent.txt'), 'absent.txt: no such image set'),
    ({}, dict(ann_file='x'), 'has no option ann_file; its options: name, competition'),
])
def test_predictions_that_cannot_be_submitted(tmp_path, results, image_set, changes, options,
                                              message):
    results[0].update(changes)
    with pytest.raises(SubmissionError, match=message):
        write('voc-det', results, tmp_path / 'out',
              **{**dict(name='alg', image_set=image_set), **options})
    assert not (tmp_path / 'out').exists()


# ---- checking

@pytest.mark.parametrize('line, message', [
    ('2008_000001 0.5 1 1 9', 'a line must be <image id> <confidence>.*cat.txt line 2'),
    ('2008_000001  0.5 1 1 9 9', 'with single spaces'),
    ('2008_000001 high 1 1 9 9', 'must be numbers'),
    ('2008_000001 nan 1 1 9 9', 'must be finite'),
    ('2008_000001 0.5 1 1 inf 9', 'must be finite'),
    ('2008_000009 0.5 1 1 9 9', "must be in the image set .*line 2: '2008_000009'"),
    ('2008_000001.jpg 0.5 1 1 9 9', 'must be in the image set without its extension'),
    ('2008_000001 0.5 0 0 9 9', '1-based, add 1 to all four'),
    ('2008_000001 0.5 50 50 20 20', 'corners, not width and height'),
    ('2008_000001 0.5 1 5 9 5', 'expected left < right and top < bottom'),
    ('2008_000001 0.5 1 1 202 9', r'must end inside the image \(at most width \+ 1'),
    ('2008_000001 0.5 1 1 9 101.5', 'must end inside the image'),
])
def test_faulty_lines_are_named(tmp_path, image_set, image_dir, line, message):
    text = f'2008_000002 0.5 1 1 201 101\n{line}\n'
    path = make_archive(tmp_path / 'a.tar.gz', own_files(text))
    with pytest.raises(SubmissionError, match=message) as caught:
        validate('voc-det', path, classes=OWN, image_set=image_set, image_dir=image_dir)
    assert len(caught.value.problems) == 1 and str(path) in str(caught.value)


@pytest.mark.parametrize('files, message', [
    (own_files()[:1], 'keeps an empty one; missing: dog'),
    ([*own_files(), (PATTERN.format('cow'), '')], 'only the files of the classes.*_cow.txt'),
    ([*own_files(), ('results/VOC2012/Main/._cat', '')], 'system files'),
    ([*own_files(), ('readme.txt', '')], 'first folder in the archive must be results/'),
    ([*own_files(), own_files()[0]], 'appears more than once in the archive'),
    ([(f'./{name}', text) for name, text in own_files()], 'first folder .* must be results/'),
    ([(n.replace('comp4', 'comp3'), t) for n, t in own_files()], 'files of competition comp4'),
    ([(n.replace('2012', '2007'), t) for n, t in own_files()], 'files of year 2012'),
    ([(n.replace('test', 'val'), t) for n, t in own_files()], 'files of split test'),
])
def test_faulty_layouts_are_named(tmp_path, files, message):
    path = make_archive(tmp_path / 'a.tar.gz', files)
    with pytest.raises(SubmissionError, match=message):
        validate('voc-det', path, classes=OWN)


def test_archives_of_other_splits_say_so(tmp_path):
    files = [(name.replace('test', 'val'), text) for name, text in own_files()]
    report = validate('voc-det', make_archive(tmp_path / 'a.tar.gz', files), classes=OWN, split='val')
    assert any('evaluates the split test, this archive is of val' in text for text in report.warnings)


def test_what_is_not_a_gzipped_tar_is_named(tmp_path):
    with pytest.raises(SubmissionError, match='not compressed with gzip'):
        validate('voc-det', make_archive(tmp_path / 'a.tar.gz', own_files(), 'w'), classes=OWN)
    with pytest.raises(SubmissionError, match='(?s)must be called NAME.tar.gz.*not compressed'):
        validate('voc-det', make_archive(tmp_path / 'a.tar', own_files(), 'w'), classes=OWN)
    with pytest.raises(SubmissionError, match='must be called NAME.tar.gz or NAME.tgz'):
        validate('voc-det', make_archive(tmp_path / 'a.gz', own_files()), classes=OWN)
    with pytest.raises(SubmissionError, match='no such file'):
        validate('voc-det', tmp_path / 'absent.tgz', classes=OWN)
    broken = tmp_path / 'b.tgz'
    broken.write_bytes(make_archive(tmp_path / 'a.tgz', own_files('x' * 5000)).read_bytes()[:90])
    with pytest.raises(SubmissionError, match='cannot be unpacked'):
        validate('voc-det', broken, classes=OWN)
    broken.write_bytes(gzip.compress(b'no tar in here'))
    with pytest.raises(SubmissionError, match='cannot be unpacked'):
        validate('voc-det', broken, classes=OWN)


def test_checks_that_were_skipped_are_reported(tmp_path, image_set, image_dir):
    text = 'elsewhere 0.5 1 1 9000 9000\n'
    path = make_archive(tmp_path / 'a.tgz', own_files(text))
    warnings = '\n'.join(validate('voc-det', path, classes=OWN).warnings)
    assert 'image ids were not checked' in warnings and 'bounds were not checked' in warnings
    warnings = '\n'.join(validate('voc-det', path, classes=OWN, image_dir=image_dir).warnings)
    assert '1 images are not in the folder' in warnings
    path = make_archive(tmp_path / 'b.tgz', own_files('2008_000002 0.5 1 1 9 9\n'))
    warnings = '\n'.join(validate('voc-det', path, classes=OWN, image_set=image_set).warnings)
    assert '1 of 2 images have no detection' in warnings and 'no detection of dog' in warnings
