"""The mini detection set: two formats of the same boxes, repeatable, and safe to make again."""
import json
from collections import Counter
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

ARGUMENTS = dict(train=24, val=6, progress=False)


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('dataset_converters/make_mini_detection.py')


@pytest.fixture(scope='module')
def root(tool, tmp_path_factory):
    return tool.generate(tmp_path_factory.mktemp('mini'), **ARGUMENTS)


@pytest.fixture(scope='module')
def train(root):
    return COCO(root / 'coco/annotations/instances_train2017.json')


@pytest.fixture(scope='module')
def val(root):
    return COCO(root / 'coco/annotations/instances_val2017.json')


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes()
            for path in sorted(root.rglob('*')) if path.is_file()}


def voc_objects(root, image_id):
    tree = ElementTree.parse(root / f'voc/VOC2007/Annotations/{image_id:06d}.xml')
    return [(item.findtext('name'),
             [int(item.findtext(f'bndbox/{key}')) for key in ('xmin', 'ymin', 'xmax', 'ymax')],
             item.findtext('truncated'))
            for item in tree.findall('object')]


def test_coco_files_are_complete(root, train, val, tool):
    assert set(train.imgs).isdisjoint(val.imgs) and set(train.anns).isdisjoint(val.anns)
    assert train.getCatIds() == [1, 3, 4, 7, 9]
    assert [cat['name'] for cat in train.loadCats(train.getCatIds())] == list(tool.CLASSES)
    for coco, split, count in ((train, 'train', 24), (val, 'val', 6)):
        assert len(coco.imgs) == count
        for image_id, info in coco.imgs.items():
            image = cv2.imread(str(root / f'coco/{split}2017' / info['file_name']))
            assert image.shape == (info['height'], info['width'], 3) == (160, 192, 3)
            assert info['file_name'] == f'{image_id:012d}.jpg'
            assert 1 <= len(coco.imgToAnns[image_id]) <= 5
    assert set(Counter(a['category_id'] for a in train.anns.values())) == {1, 3, 4, 7, 9}


def test_boxes_and_areas_are_those_of_the_segmentation(train):
    for item in train.anns.values():
        x, y, w, h = item['bbox']
        assert x >= 0 and y >= 0 and x + w <= 192 and y + h <= 160
        points = np.concatenate([np.reshape(piece, (-1, 2)) for piece in item['segmentation']])
        np.testing.assert_allclose([*points.min(0), *points.max(0)], [x, y, x + w, y + h], atol=.5)
        # Decoding may lose the tips of stars and triangles, which are thinner than a pixel.
        mask = train.annToMask(item)
        ys, xs = np.nonzero(mask)
        tight = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        np.testing.assert_allclose(tight, [x, y, x + w, y + h], atol=2.5)
        assert mask.sum() == pytest.approx(item['area'], rel=.15)


def test_ring_has_a_hole(tool):
    """Through the polygon of one piece, whose slit an evaluator's rasteriser must not fill."""
    canvas = np.zeros((60 * tool.SUB, 60 * tool.SUB), np.uint8)
    centre = (30 * tool.SUB, 30 * tool.SUB)
    cv2.circle(canvas, centre, 25 * tool.SUB, 1, -1)
    cv2.circle(canvas, centre, 12 * tool.SUB, 0, -1)
    ring = tool.Shape(tool.CLASSES.index('ring'), canvas.astype(bool), 1., (5, 5, 55, 55))
    item = dict(tool.coco_annotation(ring), id=1, image_id=1)
    assert len(item['segmentation']) == 1
    coco = COCO()
    coco.imgs = {1: dict(height=60, width=60)}
    mask = coco.annToMask(item)
    assert mask[30, 30] == 0 and mask[30, 10] == 1 and mask[2, 2] == 0
    assert mask.sum() == pytest.approx(np.pi * (25**2 - 12**2), rel=.05)


def test_objects_overlap_and_enough_of_each_is_visible(tool):
    hidden, scenes = 0, 30
    for index in range(scenes):
        _, shapes = tool.draw_scene((0, 0, index), (192, 160))
        owners = np.sum([shape.visible for shape in shapes], axis=0)
        assert owners.max() == 1, 'a pixel belongs to one object'
        shares = [shape.area / shape.full_area for shape in shapes]
        assert min(shares) >= .6 and max(shares) < 1.2
        hidden += sum(share < .95 for share in shares)
    assert hidden >= scenes // 4


def test_voc_boxes_are_the_coco_boxes(root, train, val):
    names = {cat['id']: cat['name'] for cat in train.dataset['categories']}
    for coco in (train, val):
        for image_id in coco.imgs:
            items = coco.imgToAnns[image_id]
            objects = voc_objects(root, image_id)
            assert [name for name, _, _ in objects] == [names[i['category_id']] for i in items]
            for item, (_, (x1, y1, x2, y2), _) in zip(items, objects, strict=True):
                x, y, w, h = item['bbox']
                assert 1 <= x1 < x2 <= 192 and 1 <= y1 < y2 <= 160
                np.testing.assert_allclose([x1 - 1, y1 - 1, x2, y2], [x, y, x + w, y + h],
                                           atol=.51)


def test_voc_truncated_says_that_the_box_is_not_that_of_the_whole(tool):
    visible = np.zeros((40 * tool.SUB, 40 * tool.SUB), bool)
    visible[:10 * tool.SUB, :10 * tool.SUB] = True
    for full_box, expected in (((0, 0, 10, 10), '0'), ((-5, 0, 10, 10), '1')):
        text = tool.voc_xml('000001.jpg', (40, 40), [tool.Shape(0, visible, 100., full_box)])
        assert ElementTree.fromstring(text).findtext('object/truncated') == expected


def test_voc_lists_and_pictures_are_those_of_coco(root):
    lists = root / 'voc/VOC2007/ImageSets/Main'
    ids = {name: (lists / f'{name}.txt').read_text().split()
           for name in ('train', 'val', 'trainval', 'test')}
    assert ids['trainval'] == [f'{i:06d}' for i in range(1, 25)] == ids['train'] + ids['val']
    assert ids['test'] == [f'{i:06d}' for i in range(25, 31)]
    for split, names in (('train', ids['trainval']), ('val', ids['test'])):
        for name in names:
            coco = root / f'coco/{split}2017/{int(name):012d}.jpg'
            assert coco.read_bytes() == (root / f'voc/VOC2007/JPEGImages/{name}.jpg').read_bytes()


def test_mmdet_reads_the_same_instances_from_both(root, tool):
    from mmdet.datasets import CocoDataset, VOCDataset
    metainfo = dict(classes=tool.CLASSES)
    coco = CocoDataset(data_root=str(root / 'coco'), metainfo=metainfo, pipeline=[],
                       ann_file='annotations/instances_train2017.json',
                       data_prefix=dict(img='train2017/'))
    voc = VOCDataset(data_root=str(root / 'voc'), metainfo=metainfo, pipeline=[],
                     ann_file='VOC2007/ImageSets/Main/trainval.txt',
                     data_prefix=dict(sub_data_root='VOC2007/'))
    assert len(coco) == len(voc) == 24
    for a, b in zip(coco, voc, strict=True):
        assert int(b['img_id']) == a['img_id']
        for one, other in zip(a['instances'], b['instances'], strict=True):
            assert one['bbox_label'] == other['bbox_label']
            assert one['ignore_flag'] == other['ignore_flag'] == 0
            # mmdet takes 1 off both corners of a VOC box, whose second one is inside.
            np.testing.assert_allclose(np.add(other['bbox'], (0, 0, 1, 1)), one['bbox'], atol=.51)


def test_same_bytes_whatever_the_workers(root, tool, tmp_path):
    assert contents(tool.generate(tmp_path, workers=1, **ARGUMENTS)) == contents(root)


def test_pictures_do_not_depend_on_how_many_there_are_but_on_the_seed(root, tool, tmp_path):
    few = tool.generate(tmp_path / 'few', train=2, val=1, progress=False)
    assert ((few / 'coco/val2017/000000000003.jpg').read_bytes()
            == (root / 'coco/val2017/000000000025.jpg').read_bytes())
    other = tool.generate(tmp_path / 'other', train=2, val=1, seed=1, progress=False)
    pictures = [path.read_bytes() for folder in (few, other)
                for path in sorted(folder.glob('coco/*2017/*.jpg'))]
    assert len(set(pictures)) == 6, 'splits and seeds share no picture'


def test_finished_set_is_kept_and_other_arguments_replace_it(tool, tmp_path):
    small = dict(train=2, val=1, progress=False)
    (tmp_path / 'notes.txt').write_text('mine')
    tool.generate(tmp_path, **small)
    picture = tmp_path / 'coco/train2017/000000000001.jpg'
    first = picture.stat().st_mtime_ns
    tool.generate(tmp_path, **small)
    assert picture.stat().st_mtime_ns == first
    tool.generate(tmp_path, force=True, **small)
    assert picture.stat().st_mtime_ns > first
    tool.generate(tmp_path, **dict(small, train=1))
    assert len(list((tmp_path / 'coco/train2017').iterdir())) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'coco', 'dataset.json', 'notes.txt', 'voc']


def test_interrupted_run_leaves_no_set_and_is_made_good(tool, tmp_path, monkeypatch):
    small = dict(train=4, val=1, progress=False)
    whole = contents(tool.generate(tmp_path / 'whole', **small))
    drawn = []

    def stops(key, size, draw=tool.draw_scene):
        drawn.append(key)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return draw(key, size)

    monkeypatch.setattr(tool, 'draw_scene', stops)
    with pytest.raises(KeyboardInterrupt):
        tool.generate(tmp_path / 'cut', **small)
    assert not (tmp_path / 'cut/coco').exists() and not (tmp_path / 'cut/dataset.json').exists()
    monkeypatch.undo()
    assert contents(tool.generate(tmp_path / 'cut', **small)) == whole


@pytest.mark.parametrize('damage', ['no stamp', 'half a stamp', 'other code', 'no voc'])
def test_incomplete_or_outdated_set_is_made_again(tool, tmp_path, damage):
    small = dict(train=2, val=1, progress=False)
    whole = contents(tool.generate(tmp_path, **small))
    (tmp_path / 'coco/train2017/000000000001.jpg').unlink()
    if damage == 'no stamp':
        (tmp_path / 'dataset.json').unlink()
    elif damage == 'half a stamp':
        (tmp_path / 'dataset.json').write_text('{"train":')
    elif damage == 'other code':
        stamp = json.loads((tmp_path / 'dataset.json').read_text())
        (tmp_path / 'dataset.json').write_text(json.dumps(dict(stamp, source='0' * 16)))
    else:
        (tmp_path / 'voc').rename(tmp_path.parent / f'{tmp_path.name}_gone')
    assert contents(tool.generate(tmp_path, **small)) == whole


def test_a_real_data_set_is_not_overwritten(tool, tmp_path, capsys):
    precious = tmp_path / 'coco/train2017/000000000009.jpg'
    precious.parent.mkdir(parents=True)
    precious.write_bytes(b'photo')
    assert tool.main(['--out', str(tmp_path), '--train', '1', '--val', '1', '--force']) == 2
    assert str(tmp_path / 'coco') in capsys.readouterr().err
    assert precious.read_bytes() == b'photo'


@pytest.mark.parametrize('wrong', [dict(train=0), dict(val=0), dict(size=(192, 20)), dict(seed=-1),
                                   dict(workers=0), dict(train=999999)])
def test_arguments_out_of_range_are_named(tool, tmp_path, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        tool.generate(tmp_path / 'out', **dict(ARGUMENTS, **wrong))
    assert not (tmp_path / 'out').exists()


def test_command_line_tells_where_things_lie(tool, tmp_path, capsys):
    sheet = tmp_path / 'sheets/preview.png'
    assert tool.main(['--out', str(tmp_path), '--train', '2', '--val', '1', '--size', '96', '64',
                      '--preview', str(sheet)]) == 0
    out = capsys.readouterr().out
    assert str(tmp_path / 'coco') in out and str(sheet) in out
    assert cv2.imread(str(sheet)).shape == (64 * 2, 96 * 2 * 4, 3)
    assert json.loads((tmp_path / 'dataset.json').read_text())['size'] == [96, 64]


def test_colour_does_not_give_the_class_away(tool):
    """A nearest-neighbour classifier on colour statistics stays near chance (1 in 5)."""
    features, labels = [], []
    for index in range(70):
        image, shapes = tool.draw_scene((5, 0, index), (192, 160))
        for shape in shapes:
            mask = shape.visible[tool.SUB // 2::tool.SUB, tool.SUB // 2::tool.SUB]
            pixels = image[mask].astype(float)
            features.append([*pixels.mean(0), *pixels.std(0)])
            labels.append(shape.label)
    features, labels = np.array(features), np.array(labels)
    distance = np.linalg.norm(features[:, None] - features[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, :7]
    votes = np.stack([(labels[nearest] == label).sum(1) for label in range(5)], axis=1)
    accuracy = (votes.argmax(1) == labels).mean()
    assert len(labels) > 150 and accuracy < .34
