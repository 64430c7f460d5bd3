"""COCO detection archives: what is written scores as it should, and faults are named."""
import contextlib
import io
import json
import zipfile

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from projects.leaderboards import SubmissionError, load_results, validate, write

CATEGORIES = [dict(id=18, name='dog'), dict(id=1, name='person'), dict(id=90, name='toothbrush')]
MEMBER = 'detections_val2017_alg_results.json'

# Twelve COCO numbers of detections made from the ground truth (pycocotools 2.0.11): the table in
# shared/samples/det/README.md.
ORACLE = {
    ('val9', 'gt'): '1 1 1 1 1 1 .8186 .9874 1 1 1 1',
    ('val9', 'shift'): '.4 1 0 .4 .4 .4 .3274 .3949 .4 .4 .4 .4',
    ('val9', 'shrink'): '.3 1 0 .3 .3 .3 .2456 .2962 .3 .3 .3 .3',
    ('val9', 'half'): '.5281 .5281 .5281 .4889 .7030 .5006 .4524 .5273 .5273 .4875 .7000 .5000',
    ('train24', 'gt'): '1 1 1 1 1 1 .6919 .9898 1 1 1 1',
    ('train24', 'shift'): '.4 1 0 .4 .4 .4 .2768 .3959 .4 .4 .4 .4',
    ('train24', 'shrink'): '.3 1 0 .3 .3 .3 .2076 .2969 .3 .3 .3 .3',
    ('train24', 'half'): '.5182 .5182 .5182 .6279 .4054 .4886 .4364 .5159 .5159 .6256 .4044 .4864',
    ('all33', 'gt'): '1 1 1 1 1 1 .7125 .9897 1 1 1 1',
    ('all33', 'shift'): '.4 1 0 .4 .4 .4 .2850 .3959 .4 .4 .4 .4',
    ('all33', 'shrink'): '.3 1 0 .3 .3 .3 .2138 .2969 .3 .3 .3 .3',
    ('all33', 'half'): '.5270 .5270 .5270 .5576 .4881 .4884 .4384 .5246 .5246 .5563 .4857 .4863',
}


@pytest.fixture
def ann_file(tmp_path):
    """Two images of 200 x 100 pixels, three objects, categories out of order and with gaps."""
    boxes = [(7, 18, [10, 20, 30, 40]), (7, 90, [100, 5, 50.5, 60.25]), (9, 1, [0, 0, 120, 90])]
    annotations = [dict(id=n, image_id=image, category_id=category, bbox=box, iscrowd=0,
                        area=box[2] * box[3]) for n, (image, category, box) in enumerate(boxes, 1)]
    images = [dict(id=n, width=200, height=100, file_name=f'{n}.jpg') for n in (7, 9)]
    path = tmp_path / 'instances_val2017.json'
    path.write_text(json.dumps(dict(images=images, annotations=annotations,
                                    categories=CATEGORIES)))
    return path


@pytest.fixture
def results(prediction):
    """The objects of ``ann_file`` as predictions; labels follow the file's categories."""
    return [prediction(7, [[10, 20, 40, 60], [100, 5, 150.5, 65.25]], [.9, .8], [0, 2]),
            prediction(9, [[0, 0, 120, 90]], [.7], [1])]


def read_archive(path):
    with zipfile.ZipFile(path) as archive:
        member, = archive.namelist()
        return json.loads(archive.read(member))


def evaluate(ann_file, archive):
    """The twelve COCO numbers of an archive."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(ann_file))
        scorer = COCOeval(truth, truth.loadRes(read_archive(archive)), 'bbox')
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
    return scorer.stats


def make_zip(path, entries, member=MEMBER, **others):
    with zipfile.ZipFile(path, 'w') as archive:
        text = entries if isinstance(entries, (str, bytes)) else json.dumps(entries)
        archive.writestr(member, text)
        for name, data in others.items():
            archive.writestr(name.replace('__slash__', '/'), data)
    return path


def entry(**changes):
    return dict(dict(image_id=7, category_id=18, bbox=[10, 20, 30, 40], score=.5), **changes)


# ---- writing

def test_ground_truth_through_a_dump_scores_one(tmp_path, ann_file, results, dump):
    loaded = load_results(dump(results, tmp_path / 'preds.pkl'))
    path = write('coco-det', loaded, tmp_path / 'out', name='alg', ann_file=ann_file)
    assert path.name == 'detections_val2017_alg_results.zip'
    assert zipfile.ZipFile(path).namelist() == [MEMBER]
    assert evaluate(ann_file, path)[0] == pytest.approx(1.0)
    report = validate('coco-det', path, ann_file=ann_file)
    assert (report.entries, report.images, report.warnings) == (3, 2, [])
    assert report.size == path.stat().st_size and len(report.sha256) == 64


@pytest.mark.parametrize('split, variant', ORACLE)
def test_coco_tiny33_scores_as_the_oracle(shared, tmp_path, prediction, split, variant):
    ann_file = shared / f'samples/det/coco_tiny33/annotations/instances_{split}.json'
    content = json.loads(ann_file.read_text())
    labels = {category['id']: n for n, category in enumerate(content['categories'])}
    objects = sorted((a for a in content['annotations'] if not a['iscrowd']),
                     key=lambda a: a['id'])
    found = {image['id']: ([], [], []) for image in content['images']}
    for k, annotation in enumerate(objects):
        if variant == 'half' and k % 2:
            continue
        boxes, scores, classes = found[annotation['image_id']]
        x, y, w, h = annotation['bbox']
        if variant in ('shift', 'shrink'):
            x, y = x + .1 * w, y + .1 * h
        if variant == 'shrink':
            w, h = .8 * w, .8 * h
        boxes.append([x, y, x + w, y + h])
        scores.append(1 - .0001 * k)
        classes.append(labels[annotation['category_id']])
    results = [prediction(number, *columns, ori_shape=None) for number, columns in found.items()]
    path = write('coco-det', results, tmp_path, name='alg', ann_file=ann_file)
    expected = [float(number) for number in ORACLE[split, variant].split()]
    np.testing.assert_allclose(evaluate(ann_file, path), expected, atol=1e-3)
    assert validate('coco-det', path, ann_file=ann_file, split=split).entries == sum(
        len(scores) for _, scores, _ in found.values())


def test_archive_bytes_depend_on_the_predictions_only(tmp_path, ann_file, results):
    options = dict(name='alg', ann_file=ann_file)
    first = write('coco-det', results, tmp_path / 'a', **options)
    second = write('coco-det', results[::-1], tmp_path / 'b', **options)
    assert first.read_bytes() == second.read_bytes()
    assert zipfile.ZipFile(first).infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)
    assert [p.name for p in (tmp_path / 'a').iterdir()] == [first.name]


def test_labels_follow_the_order_of_the_file_not_of_classes(tmp_path, ann_file, prediction):
    results = [prediction(7, [[0, 0, 9, 9], [0, 0, 8, 8]], [.9, .8], [0, 1])]
    path = write('coco-det', results, tmp_path, name='alg', ann_file=ann_file,
                 classes=['toothbrush', 'dog'])
    assert [e['category_id'] for e in read_archive(path)] == [18, 90]


def test_boxes_are_rounded_cut_and_counted(tmp_path, ann_file, prediction):
    boxes = [[1.237, 2, 11.2341, 12], [5, 5, 5.001, 9], [0, 0, 7, 7], [0, 0, 6, 6]]
    results = [prediction(7, boxes, [.123456, .9, .8, .1], [0, 0, 0, 0], ori_shape=(200, 100))]
    with pytest.warns(UserWarning) as notes:
        path = write('coco-det', results, tmp_path, name='alg', ann_file=ann_file,
                     max_per_image=2)
    assert read_archive(path) == [entry(bbox=[0, 0, 7, 7], score=.8),
                                  entry(bbox=[1.24, 2, 10, 10], score=.12346)]
    texts = ' '.join(str(note.message) for note in notes)
    assert '1 boxes without width or height' in texts
    assert '1 images had more than 2 detections' in texts
    assert '1 images have another size' in texts


def change(key, value):
    def apply(result):
        result['pred_instances'][key] = value
    return apply


@pytest.mark.parametrize('spoil, message', [
    (lambda r: r.update(img_id=8), r'img_id must be an id of instances_val2017.json.*\[8\]'),
    (lambda r: r.update(img_id='000009'), r"img_id must be an id of .*'000009'"),
    (lambda r: r.update(img_id=9), 'an image appears more than once .*image 9'),
    (lambda r: r.pop('img_id'), 'must be a dict with img_id'),
    (lambda r: r.pop('pred_instances'), 'must hold bboxes, scores and labels'),
    (change('labels', torch.tensor([0, 3])), r'labels must be 0\.\.2 .*image 7: label 3'),
    (change('labels', torch.tensor([0, -1])), r'labels must be 0\.\.2 .*image 7: label -1'),
    (change('scores', torch.tensor([.1, torch.nan])), 'scores must be finite.*image 7 box 1: nan'),
    (change('bboxes', torch.full((2, 4), torch.inf)), 'bboxes must be finite.*2 times'),
    (change('bboxes', torch.zeros(2, 5)), r'expected bboxes \(n, 4\).*\(2, 5\)'),
    (change('scores', torch.zeros(3)), r'expected bboxes \(n, 4\).*\(3,\)'),
])
def test_predictions_that_cannot_be_submitted(tmp_path, ann_file, results, spoil, message):
    spoil(results[0])
    with pytest.raises(SubmissionError, match=message):
        write('coco-det', results, tmp_path / 'out', name='alg', ann_file=ann_file)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('options, message', [
    (dict(name='my alg'), "option name: 'my alg' cannot be part of a file name"),
    (dict(classes=['dog', 'cat']), 'classes not among its categories: cat'),
    (dict(ann_file='absent.json'), 'absent.json: no such annotation file'),
    (dict(ann_file=None), 'needs the option ann_file'),
    (dict(image_set='x'), 'has no option image_set; its options: name, ann_file'),
])
def test_options_that_do_not_fit(tmp_path, ann_file, results, options, message):
    with pytest.raises(SubmissionError, match=message):
        write('coco-det', results, tmp_path / 'out', **{
            **dict(name='alg', ann_file=ann_file), **options})


def test_image_info_without_categories_is_named(tmp_path, results):
    path = tmp_path / 'image_info_test-dev2017.json'
    path.write_text(json.dumps(dict(images=[dict(id=7)])))
    with pytest.raises(SubmissionError, match='image_info_test-dev2017.json: lacks categories'):
        write('coco-det', results, tmp_path, name='alg', ann_file=path)


@pytest.mark.parametrize('boxes', [[], [[5, 5, 5, 5]]])
def test_no_detection_at_all_is_refused(tmp_path, ann_file, prediction, boxes):
    results = [prediction(7, boxes, [.5] * len(boxes), [0] * len(boxes))]
    with pytest.raises(SubmissionError, match='the model detected nothing in 1 images'):
        write('coco-det', results, tmp_path / 'out', name='alg', ann_file=ann_file)
    assert not list((tmp_path / 'out').iterdir())


def test_an_unknown_track_lists_the_known_ones():
    with pytest.raises(SubmissionError, match='known tracks: coco-det, voc-det'):
        write('coco-segm', [], '.')


# ---- checking

@pytest.mark.parametrize('entries, message', [
    ('[]', 'list of results is empty'),
    ('{"annotations": []}', 'not an array of objects"'),
    ('[{"image_id": 7', r"not an array of objects.*character 1, found '\{\"image_id\": 7'"),
    ('[] []', 'expected nothing after the array'),
    (b'\xff\xfe[]', 'not an array of objects.*utf-8'),
    ([entry(), 3], 'every entry must be an object.*entry 1: 3'),
    ([dict(image_id=7, category_id=18, bbox=[1, 1, 2, 2])], 'entry without score'),
    ([entry(image_id='7')], 'image_id must be an integer'),
    ([entry(category_id=18.0)], 'category_id must be an integer'),
    ([entry(bbox=[])], 'empty bbox'),
    ([entry(bbox=[1, 2, 3])], 'bbox must be four numbers'),
    ([entry(bbox=[1, 2, 3, '4'])], 'bbox must be four numbers'),
    ([entry(bbox=[1, 2, 3, 10 ** 400])], 'bbox must be four numbers'),
    ([entry(score=True)], 'score must be a number'),
    ([entry(caption='a dog')], 'read all as captions'),
    ([entry(score=float('nan'))], 'score must be finite'),
    ([entry(bbox=[1, 2, float('inf'), 4])], 'bbox must be finite'),
    ([entry(bbox=[10, 20, 0, 40])], 'width and height above 0'),
    ([entry(bbox=[10, 20, 30, -4])], 'width and height above 0'),
    ([entry(image_id=8)], 'image_id must be in instances_val2017.json .*entry 0: 8'),
    ([entry(category_id=c) for c in (0, 1, 2)], 'look like the contiguous labels'),
    ([entry(category_id=44)], r'category_id must be one of instances_val2017.json \[entry 0: 44'),
    ([entry(bbox=[120, 50, 190, 95])], 'bbox looks like corners'),
    ([entry(bbox=[150, 90, 90, 120])], 'boxes must lie in the original image'),
])
def test_faulty_results_are_named(tmp_path, ann_file, entries, message):
    path = make_zip(tmp_path / 'detections_val2017_alg_results.zip', entries)
    with pytest.raises(SubmissionError, match=message) as caught:
        validate('coco-det', path, ann_file=ann_file)
    assert len(caught.value.problems) == 1
    assert str(path) in str(caught.value)


@pytest.mark.parametrize('member, others, message', [
    ('sub/' + MEMBER, {}, 'must lie at the root'),
    ('results.json', {}, 'must be called detections_<split>'),
    ('detections_val2017_my alg_results.json', {}, 'must be called detections_<split>'),
    (MEMBER, {'__MACOSX__slash__._a.json': ''}, 'system files'),
    (MEMBER, {'readme.txt': ''}, 'take the others out'),
    (MEMBER, {'b.json': '[]'}, 'exactly one .*found 2'),
    ('a.txt', {}, 'exactly one .*found 0'),
])
def test_faulty_layouts_are_named(tmp_path, ann_file, member, others, message):
    path = make_zip(tmp_path / 'a.zip', [entry()], member, **others)
    with pytest.raises(SubmissionError, match=message):
        validate('coco-det', path, ann_file=ann_file)


def test_what_is_not_a_zip_is_named(tmp_path):
    bare = tmp_path / MEMBER
    bare.write_text(json.dumps([entry()]))
    with pytest.raises(SubmissionError, match='not a zip file; zip .*to a bare .json'):
        validate('coco-det', bare)
    with pytest.raises(SubmissionError, match='no such file'):
        validate('coco-det', tmp_path / 'absent.zip')
    whole = make_zip(tmp_path / 'a.zip', [entry()])
    data = bytearray(whole.read_bytes())
    data[60] ^= 255
    whole.write_bytes(data)
    with pytest.raises(SubmissionError, match='cannot be unzipped'):
        validate('coco-det', whole)
    renamed = make_zip(tmp_path / 'a.dat', [entry()])
    with pytest.raises(SubmissionError, match='must be called NAME.zip'):
        validate('coco-det', renamed)


def test_all_problems_come_at_once_with_counts(tmp_path, ann_file):
    entries = [entry(image_id=8)] * 12 + [entry(category_id=44), entry(score='high')]
    path = make_zip(tmp_path / 'a.zip', entries, 'sub/' + MEMBER)
    with pytest.raises(SubmissionError) as caught:
        validate('coco-det', path, ann_file=ann_file, split='test-dev2017')
    text = str(caught.value)
    assert text.startswith(f'{path}: 5 problems\n')
    assert '[12 times: entry 0: 8; entry 1: 8; entry 2: 8; ' in text and 'entry 9: 8; and 2 more]' in text
    for part in ('at the root', 'must show the split test-dev2017', 'score must be a number',
                 'category_id must be one of'):
        assert part in text


def test_what_the_server_accepts_is_warned_of(tmp_path, ann_file):
    entries = [entry()] * 101 + [entry(bbox=[150, 50, 60, 20])]
    path = make_zip(tmp_path / 'a.zip', entries, 'detections_mine_alg_results.json')
    warnings = '\n'.join(validate('coco-det', path, ann_file=ann_file).warnings)
    for part in ('1 of 102 boxes reach more than 2 px out', '1 images have more than 100',
                 '1 of 2 images have no detection', 'says split mine', 'usually called'):
        assert part in warnings
    warnings = '\n'.join(validate('coco-det', path).warnings)
    assert 'image ids and box positions were not checked' in warnings
    assert 'category ids were not checked' in warnings


def test_category_ids_of_coco_splits_are_known_without_annotations(tmp_path):
    path = make_zip(tmp_path / 'a.zip', [entry(category_id=83)],
                    'detections_test-dev2017_alg_results.json')
    with pytest.raises(SubmissionError, match='must be one of the 80 ids of COCO .*entry 0: 83'):
        validate('coco-det', path)


def test_a_file_longer_than_the_reading_window_is_read_whole(tmp_path):
    entries = [entry(score=n / 4096, bbox=[n / 7, 1, 2, 3]) for n in range(30000)]
    path = make_zip(tmp_path / 'a.zip', json.dumps(entries, indent=2))
    assert (tmp_path / 'a.zip').stat().st_size > 2 * 2 ** 20  # the window is 1 MiB of text
    report = validate('coco-det', path)
    assert (report.entries, report.images) == (30000, 1)


def test_the_official_example_is_accepted(shared, tmp_path):
    source = shared / 'samples/det/cocoapi_results/instances_val2014_fakebbox100_results.json'
    entries = json.loads(source.read_text())
    extent = {}
    for item in entries:
        x, y, w, h = item['bbox']
        width, height = extent.get(item['image_id'], (0, 0))
        extent[item['image_id']] = (max(width, x + w), max(height, y + h))
    ann_file = tmp_path / 'instances_val2014.json'
    ann_file.write_text(json.dumps(dict(
        images=[dict(id=n, width=w, height=h) for n, (w, h) in extent.items()],
        categories=[dict(id=n, name=str(n)) for n in sorted({e['category_id'] for e in entries})],
    )))
    stem = 'detections_val2014_fakebbox100_results'
    path = make_zip(tmp_path / f'{stem}.zip', source.read_text(), f'{stem}.json')
    report = validate('coco-det', path, ann_file=ann_file)
    assert (report.entries, report.images, report.warnings) == (734, 99, [])
    assert validate('coco-det', path).entries == 734
