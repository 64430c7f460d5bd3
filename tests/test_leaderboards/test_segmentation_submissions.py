"""Segmentation archives of VOC and Cityscapes: what is written passes, and each fault is named."""
import io
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from mmengine.evaluator import DumpResults
from PIL import Image

from projects.leaderboards import SubmissionError, load_results, validate, write
from projects.leaderboards.cityscapes_seg import LABEL_IDS, TEST_CITIES
from projects.leaderboards.voc_seg import colour_map

VOC_IDS = ('2008_000001', '2008_000007')
CITY_KEYS = ('berlin_000000_000019', 'munich_000397_000019')
SIZE = (12, 8)  # width, height
VOC_FOLDER = 'results/VOC2012/Segmentation/comp6_test_cls'


def labels(seed, classes, size=SIZE):
    values = np.random.default_rng(seed).integers(0, classes, size[::-1], dtype=np.uint8)
    values.flat[:classes] = np.arange(min(classes, values.size))
    return values


def png(array, palette=None):
    image, stream = Image.fromarray(array), io.BytesIO()
    if palette is not None:
        image.putpalette(palette)
    image.save(stream, 'PNG')
    return stream.getvalue()


def voc_png(seed=0, array=None):
    return png(labels(seed, 21) if array is None else array, colour_map().tobytes())


def city_png(seed=0, size=SIZE):
    return png(np.array(LABEL_IDS, dtype=np.uint8)[labels(seed, 19, size)])


def make_tar(path, files, mode='w:gz'):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def make_zip(path, files):
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def read_tar(path):
    with tarfile.open(path, 'r:gz') as archive:
        return {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}


def read_zip(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def without_none(files):
    return {name: data for name, data in files.items() if data is not None}


@pytest.fixture
def voc(tmp_path):
    """Options of a split of two images."""
    folder = tmp_path / 'JPEGImages'
    folder.mkdir()
    for name in (*VOC_IDS, '2009_000001'):
        Image.new('RGB', SIZE).save(folder / f'{name}.jpg')
    (tmp_path / 'test.txt').write_text('\n'.join(VOC_IDS) + '\n')
    return dict(image_set=tmp_path / 'test.txt', image_dir=folder)


@pytest.fixture
def city(tmp_path):
    """Options of a split of two images."""
    folder = tmp_path / 'leftImg8bit'
    for key in CITY_KEYS:
        place = folder / key.split('_')[0]
        place.mkdir(parents=True)
        Image.new('RGB', SIZE).save(place / f'{key}_leftImg8bit.png')
    return dict(image_dir=folder)


@pytest.fixture
def label_folder(tmp_path):
    """Function: a folder of grey PNG files, one for each name, with as many classes."""
    def make(names, classes):
        folder = tmp_path / 'labels'
        folder.mkdir()
        for seed, name in enumerate(names):
            (folder / f'{name}.png').write_bytes(png(labels(seed, classes)))
        return folder
    return make


# ---- VOC

def test_colours_of_voc():
    """The figures of the development kit."""
    colours = colour_map()
    assert colours[:5].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert (colours[20].tolist(), colours[255].tolist()) == ([0, 64, 128], [224, 224, 192])


def test_voc_archive_keeps_the_numbers_and_gets_the_palette(tmp_path, voc, label_folder):
    path = write('voc-seg', label_folder(VOC_IDS, 21), tmp_path / 'out', name='alg', **voc)
    assert path.name == 'comp6_test_alg.tar.gz'
    files = read_tar(path)
    assert list(files) == [f'{VOC_FOLDER}/{name}.png' for name in VOC_IDS]
    for seed, data in enumerate(files.values()):
        image = Image.open(io.BytesIO(data))
        assert image.mode == 'P' and image.getpalette()[:63] == colour_map(21).flatten().tolist()
        np.testing.assert_array_equal(np.asarray(image), labels(seed, 21))
    report = validate('voc-seg', path, **voc)
    assert (report.entries, report.warnings) == (2, [])
    again = write('voc-seg', str(tmp_path / 'labels'), tmp_path / 'again', name='alg', **voc)
    assert again.read_bytes() == path.read_bytes()


def test_voc_archive_of_dumped_predictions(tmp_path, voc):
    """As mmengine dumps mmseg's samples: labels of 64 bits, shape (1, H, W)."""
    samples = [dict(img_path=f'JPEGImages/{name}.jpg', pred_sem_seg=dict(
        data=torch.from_numpy(labels(seed, 21))[None].long())) for seed, name in enumerate(VOC_IDS)]
    metric = DumpResults(str(tmp_path / 'preds.pkl'))
    metric.process({}, samples)
    metric.evaluate(2)
    path = write('voc-seg', load_results(tmp_path / 'preds.pkl'), tmp_path, name='alg', competition='comp5', **voc)
    assert validate('voc-seg', path, competition='comp5', **voc).entries == 2
    with pytest.raises(SubmissionError, match='only results/VOC2012/Segmentation/comp6_test_cls/IMAGE.png'):
        validate('voc-seg', path, **voc)


@pytest.mark.parametrize('names, change, options, message', [
    (VOC_IDS[:1], None, {}, 'each of the 2 images of the image set; missing .2008_000007'),
    ((*VOC_IDS, '2009_000001'), None, {}, 'image ids must be in the image set.*2009_000001'),
    (VOC_IDS, np.full((8, 12), 255, np.uint8), {}, r'255 \(void\) must not occur.*2008_000001.png: 255'),
    (VOC_IDS, np.full((8, 12), 21, np.uint8), {}, r'must be 0 \(background\) to 20; .*: 21'),
    (VOC_IDS, np.zeros((4, 6), np.uint8), {}, 'the size of its image.*6 x 4, expected 12 x 8'),
    (VOC_IDS, np.zeros((8, 12, 3), np.uint8), {}, 'expected one 8-bit label a pixel.*found 8-bit RGB'),
    (VOC_IDS, np.zeros((8, 12), np.uint16), {}, 'found 16-bit grey'),
    (VOC_IDS, None, dict(competition='comp4'), "option competition: 'comp4'; expected comp5"),
    (VOC_IDS, None, dict(name='a b'), "option name: 'a b'"),
])
def test_voc_labels_that_cannot_be_submitted(tmp_path, voc, label_folder, names, change, options, message):
    folder = label_folder(names, 21)
    if change is not None:
        Image.fromarray(change).save(folder / f'{VOC_IDS[0]}.png')
    with pytest.raises(SubmissionError, match=message):
        write('voc-seg', folder, tmp_path / 'out', **{**voc, 'name': 'alg', **options})
    assert not list(tmp_path.glob('out/*'))


@pytest.mark.parametrize('samples, message', [
    ([dict(img_path='a.jpg')], 'img_path and pred_sem_seg.*result 0'),
    ([dict(img_path='2008_000001.jpg', pred_sem_seg=dict(data=torch.rand(1, 8, 12)))], 'whole numbers'),
    ([dict(img_path='2008_000001.jpg', pred_sem_seg=dict(data=torch.zeros(21, 8, 12)))], r'shape \(1, H, W\)'),
    ([dict(img_path='2008_000001.jpg', pred_sem_seg=dict(data=torch.full((1, 8, 12), 300)))], '0..255 .*found 300'),
    ([dict(img_path=f'{d}/2008_000001.jpg', pred_sem_seg=dict(data=torch.zeros(1, 8, 12))) for d in 'ab'],
     'more than once .2008_000001'),
    ([], 'no label maps; expected a folder'),
])
def test_predictions_that_are_no_label_maps(tmp_path, samples, message):
    with pytest.raises(SubmissionError, match=message):
        write('voc-seg', samples, tmp_path / 'out', name='alg')


@pytest.mark.parametrize('changes, message', [
    ({f'{VOC_FOLDER}/{VOC_IDS[1]}.png': None}, 'missing .2008_000007'),
    ({f'{VOC_FOLDER}/2009_000001.png': voc_png()}, 'in the image set.*2009_000001'),
    ({f'{VOC_FOLDER}/{VOC_IDS[0]}.png': png(labels(0, 21))}, r'indexed PNG \(8-bit palette\).*found grey'),
    ({f'{VOC_FOLDER}/{VOC_IDS[0]}.png': png(np.zeros((8, 12, 3), np.uint8))}, 'found 8-bit RGB'),
    ({f'{VOC_FOLDER}/{VOC_IDS[0]}.png': voc_png(array=np.full((8, 12), 255, np.uint8))}, 'void'),
    ({f'{VOC_FOLDER}/{VOC_IDS[0]}.png': voc_png(array=np.full((8, 12), 30, np.uint8))}, r'to 20; .*: 30'),
    ({f'{VOC_FOLDER}/{VOC_IDS[0]}.png': voc_png(array=np.zeros((9, 12), np.uint8))}, '12 x 9, expected 12 x 8'),
    ({f'{VOC_FOLDER}/{VOC_IDS[0]}.png': voc_png()[:-40]}, 'cannot be decoded'),
    ({f'{VOC_FOLDER}/{VOC_IDS[0]}.png': b'GIF89a'}, 'not a PNG file'),
    ({'2008_000001.png': voc_png()}, 'the first folder in the archive must be results/'),
    ({f'{VOC_FOLDER}/../../../x.png': voc_png()}, 'paths in the archive must stay inside'),
    ({f'{VOC_FOLDER}/notes.txt': b''}, 'only results/VOC2012.*notes.txt'),
])
def test_faulty_voc_archives_are_named(tmp_path, voc, changes, message):
    files = {f'{VOC_FOLDER}/{name}.png': voc_png(seed) for seed, name in enumerate(VOC_IDS)}
    path = make_tar(tmp_path / 'a.tar.gz', without_none({**files, **changes}))
    with pytest.raises(SubmissionError, match=message) as caught:
        validate('voc-seg', path, **voc)
    assert len(caught.value.problems) == 1 and str(path) in str(caught.value)


def test_voc_archive_of_another_kind(tmp_path, voc):
    files = {f'{VOC_FOLDER}/{name}.png': voc_png(seed) for seed, name in enumerate(VOC_IDS)}
    plain = make_tar(tmp_path / 'a.tar', files, 'w')
    with pytest.raises(SubmissionError, match='(?s)called NAME.tar.gz.*not compressed with gzip'):
        validate('voc-seg', plain, **voc)
    packed = make_tar(tmp_path / 'a.tar.gz', files)
    with pytest.raises(SubmissionError, match='1456 images of the test set of VOC2012, found 2'):
        validate('voc-seg', packed)
    (tmp_path / 'b.tar.gz').write_bytes(packed.read_bytes()[:-100])
    with pytest.raises(SubmissionError, match='cannot be unpacked'):
        validate('voc-seg', tmp_path / 'b.tar.gz', **voc)
    with pytest.raises(SubmissionError, match='no such file'):
        validate('voc-seg', tmp_path / 'c.tar.gz', **voc)
    other = {name: png(np.asarray(Image.open(io.BytesIO(data))), bytes(range(256)) * 3) for name, data in files.items()}
    assert '2 files have another palette' in validate('voc-seg', make_tar(tmp_path / 'd.tgz', other), **voc).warnings[0]


# ---- Cityscapes

def test_cityscapes_archive_has_label_ids(tmp_path, city, label_folder):
    names = [f'{key}_leftImg8bit' for key in CITY_KEYS]
    path = write('cityscapes-seg', label_folder(names, 19), tmp_path / 'out', name='alg', **city)
    files = read_zip(path)
    assert (path.name, list(files)) == ('alg.zip', [f'{name}.png' for name in names])
    for seed, data in enumerate(files.values()):
        expected = np.array(LABEL_IDS)[labels(seed, 19)]
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), expected)
    assert validate('cityscapes-seg', path, **city).warnings == []
    # what has label ids already is kept
    unpacked = tmp_path / 'ids'
    with zipfile.ZipFile(path) as archive:
        archive.extractall(unpacked)
    again = write('cityscapes-seg', unpacked, tmp_path / 'again', name='alg', ids='label', **city)
    assert again.read_bytes() == path.read_bytes()
    with pytest.raises(SubmissionError, match='ids of the kind that the option ids names.*: (19|2|3)'):
        write('cityscapes-seg', unpacked, tmp_path / 'no', name='alg', **city)
    assert not list((tmp_path / 'no').glob('*'))


@pytest.mark.parametrize('changes, message', [
    ({f'{CITY_KEYS[1]}_leftImg8bit.png': None}, 'each of the 2 images in image_dir; missing .munich'),
    ({'bonn_000000_000019_leftImg8bit.png': city_png()}, 'not an image of image_dir.*bonn'),
    ({f'colours/{CITY_KEYS[0]}_color.png': city_png()}, 'two label maps for the same image'),
    ({'Berlin.png': city_png()}, 'names must begin with <city>'),
    ({'__MACOSX/._a.png': b''}, 'system files'),
    ({f'../{CITY_KEYS[0]}.png': city_png()}, 'paths in the archive must stay inside'),
    ({'readme.txt': b''}, r'only PNG files \(.png\)'),
    ({f'{CITY_KEYS[0]}_leftImg8bit.png': city_png(size=(6, 4))}, '6 x 4, expected 12 x 8'),
    ({f'{CITY_KEYS[0]}_leftImg8bit.png': png(np.zeros((8, 12, 3), np.uint8))}, 'found 8-bit RGB'),
    ({f'{CITY_KEYS[0]}_leftImg8bit.png': city_png()[:-40]}, 'cannot be decoded'),
    ({f'{key}_leftImg8bit.png': png(labels(0, 19)) for key in CITY_KEYS}, 'look like train ids'),
])
def test_faulty_cityscapes_archives_are_named(tmp_path, city, changes, message):
    files = {f'{key}_leftImg8bit.png': city_png(seed) for seed, key in enumerate(CITY_KEYS)}
    path = make_zip(tmp_path / 'a.zip', without_none({**files, **changes}))
    with pytest.raises(SubmissionError, match=message) as caught:
        validate('cityscapes-seg', path, **city)
    assert len(caught.value.problems) == 1 and str(path) in str(caught.value)


def test_cityscapes_archive_of_the_test_set(tmp_path):
    """Without the images: 1,525 of 2048 x 1024 from the six cities."""
    data = png(np.full((1024, 2048), 7, np.uint8))
    keys = [f'{city}_000000_000019' for city in TEST_CITIES[:3]]
    path = make_zip(tmp_path / 'a.zip', {f'{key}.png': data for key in keys})
    with pytest.raises(SubmissionError, match='1525 images of the test set, found 3') as caught:
        validate('cityscapes-seg', path)
    assert len(caught.value.problems) == 1
    path = make_zip(tmp_path / 'b.zip', {'ulm_000000_000019.png': city_png()})
    with pytest.raises(SubmissionError) as caught:
        validate('cityscapes-seg', path)
    assert [text.split(' [')[0][:22] for text in caught.value.problems] == [
        'a label map must have ', 'not an image of the te', 'expected labels for th']


def test_cityscapes_validation_images_are_warned_of(tmp_path, city):
    """The configs name them; the server takes the test images."""
    val = city['image_dir'].rename(tmp_path / 'val')
    path = make_zip(tmp_path / 'a.zip', {f'{key}.png': png(np.full(SIZE[::-1], 7, np.uint8)) for key in CITY_KEYS})
    assert validate('cityscapes-seg', path, image_dir=val).warnings == [
        'the server evaluates the split test, this archive is of val, whose numbers tools/test.py gives']


def test_cityscapes_pixels_outside_of_the_classes_are_warned_of(tmp_path, city):
    odd = np.full(SIZE[::-1], 7, np.uint8)
    odd[0, :2] = 4, 33
    path = make_zip(tmp_path / 'a.zip', {f'{key}.png': png(odd) for key in CITY_KEYS})
    assert validate('cityscapes-seg', path, **city).warnings == [
        'ids 4 are none of the 19 that are evaluated; such pixels count as errors']


@pytest.mark.parametrize('names, options, message', [
    (('berlin_0_19',), {}, 'names must begin with <city>'),
    ((f'{CITY_KEYS[0]}_a', f'{CITY_KEYS[0]}_b'), {}, 'two label maps for the same image'),
    (CITY_KEYS, dict(ids='raw'), "option ids: 'raw'; expected train"),
    (CITY_KEYS, dict(image_dir='absent'), 'absent: no such folder, or no images called NAME_leftImg8bit'),
])
def test_cityscapes_labels_that_cannot_be_submitted(tmp_path, city, label_folder, names, options, message):
    with pytest.raises(SubmissionError, match=message):
        write('cityscapes-seg', label_folder(names, 19), tmp_path / 'out', name='alg', **{**city, **options})
    assert not (tmp_path / 'out').exists()


# ---- real samples, and the command

def test_real_voc_masks_round_trip(tmp_path, shared):
    """The ground truth as predictions, its borders turned into background."""
    voc = shared / 'samples' / 'seg' / 'voc2012'
    folder = tmp_path / 'labels'
    folder.mkdir()
    ids = []
    for file in sorted((voc / 'SegmentationClass').glob('*.png')):
        values = np.array(Image.open(file))
        values[values == 255] = 0
        Image.fromarray(values).save(folder / file.name)
        ids.append(file.stem)
    (tmp_path / 'test.txt').write_text('\n'.join(ids))
    options = dict(image_set=tmp_path / 'test.txt', image_dir=voc / 'JPEGImages')
    path = write('voc-seg', folder, tmp_path, name='truth', **options)
    assert validate('voc-seg', path, **options).warnings == []
    for name, data in read_tar(path).items():
        truth = Image.open(voc / 'SegmentationClass' / name.split('/')[-1])
        image = Image.open(io.BytesIO(data))
        assert image.getpalette()[:63] == truth.getpalette()[:63]
        inside = np.asarray(truth) != 255
        np.testing.assert_array_equal(np.asarray(image)[inside], np.asarray(truth)[inside])


def test_real_cityscapes_ids_round_trip(tmp_path, shared, load_tool, capsys):
    """The train ids of a real frame become its label ids."""
    city = shared / 'samples' / 'seg' / 'cityscapes'
    truth = city / 'gtFine' / 'val' / 'frankfurt'
    train = np.array(Image.open(truth / 'frankfurt_000000_000294_gtFine_labelTrainIds.png'))
    seen = train != 255
    folder = tmp_path / 'labels'
    folder.mkdir()
    Image.fromarray(np.where(seen, train, 0)).save(folder / 'frankfurt_000000_000294_leftImg8bit.png')
    assert load_tool('submit.py').main(['cityscapes-seg', str(folder), '--out', str(tmp_path / 'out'), '--name',
                                        'truth', '--image-dir', str(city / 'leftImg8bit' / 'val')]) == 0
    shown = capsys.readouterr().out
    assert 'entries  1' in shown and 'cityscapes-dataset.com' in shown
    data = read_zip(tmp_path / 'out' / 'truth.zip')['frankfurt_000000_000294_leftImg8bit.png']
    ids = np.array(Image.open(truth / 'frankfurt_000000_000294_gtFine_labelIds.png'))
    # the sample's two maps were made smaller each for itself: they differ in 67 of 28,899 pixels, at borders
    assert (np.asarray(Image.open(io.BytesIO(data)))[seen] != ids[seen]).sum() == 67
