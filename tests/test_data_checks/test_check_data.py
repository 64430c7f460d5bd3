"""tools/analysis_tools/check_data.py on small sets, in the real formats, with one thing broken in each sample."""

import json

import cv2
import numpy as np
import pytest

SIZE = (40, 30)  # width, height
RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 255, (*SIZE[::-1], 3), dtype=np.uint8)


def save(path, image=PICTURE, cut=0):
    """Write an image file, without its last `cut` bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = cv2.imencode(path.suffix, image)[1].tobytes()
    path.write_bytes(content[:len(content) - cut])


@pytest.fixture(scope='module')
def check(load_tool, tmp_path_factory):
    """Function: write a config, run the tool on its training set, return {kind: [problem...]} and the set's summary."""
    main = load_tool('analysis_tools/check_data.py').main

    def run(root, scope, imports, dataset, workers=0, fails=True):
        config = tmp_path_factory.mktemp('check') / 'config.py'
        config.write_text(f'default_scope = {scope!r}\ncustom_imports = dict(imports={imports}, '
                          f'allow_failed_imports=False)\ntrain_dataloader = dict(dataset=dict(data_root={str(root)!r}, '
                          f'**{dataset!r}))\n')
        arguments = [str(config), '--split', 'train', '--out', str(config.parent), '--workers', str(workers)]
        if fails:
            with pytest.raises(SystemExit) as stop:
                main(arguments)
            assert stop.value.code == 1 and (config.parent / 'worst_0.png').is_file()
        else:
            main(arguments)
        summary = json.loads((config.parent / 'summary.json').read_text())['data_sets'][0]
        found = {}
        for problem in summary['problems']:
            found.setdefault(problem['kind'], []).append(problem)
        return found, summary

    return run


def test_coco(check, tmp_path):
    """Every broken annotation and image of a COCO file is named, and the intact ones are counted."""
    boxes = [(1, [2, 3, 10, 8]), (1, [50, 3, 10, 8]), (2, [2, 3, 0, 8]), (2, [float('nan'), 3, 5, 8]),
             (9, [2, 3, 5, 8]), (2, [30, 3, 15, 8]), (1, 'none'), (2, [-0.5, 0, 20, 20])]
    names = ['whole', 'cut', 'empty', 'text', 'missing', 'smaller']
    for name in names[:1]:
        save(tmp_path / 'img' / f'{name}.jpg')
    save(tmp_path / 'img' / 'cut.jpg', cut=400)
    (tmp_path / 'img' / 'empty.jpg').touch()
    (tmp_path / 'img' / 'text.jpg').write_text('no image')
    save(tmp_path / 'img' / 'smaller.jpg', PICTURE[:20])
    images = [dict(id=index, file_name=f'{name}.jpg', width=40, height=30) for index, name in enumerate(names)]
    annotations = [dict(id=index, image_id=0, category_id=label, bbox=box, area=50, iscrowd=0)
                   for index, (label, box) in enumerate(boxes)]
    annotations.append(dict(id=99, image_id=77, category_id=1, bbox=[1, 1, 5, 5], area=25, iscrowd=0))
    (tmp_path / 'train.json').write_text(json.dumps(dict(
        images=images, annotations=annotations, categories=[dict(id=1, name='cat'), dict(id=2, name='dog')])))
    found, summary = check(tmp_path, 'mmdet', ['projects.det_data'], dict(
        type='CheckedCocoDataset', ann_file='train.json', data_prefix=dict(img='img/'),
        metainfo=dict(classes=('cat', 'dog')), pipeline=[dict(type='LoadCheckedImage'),
                                                         dict(type='LoadAnnotations', with_bbox=True)]))
    assert {kind: len(problems) for kind, problems in found.items()} == {
        'annotation without image': 1, 'box outside the image': 1, 'box without area': 1, 'box is not finite': 1,
        'unknown class': 1, 'box reaches beyond the image': 1, 'box is not four numbers': 1, 'truncated image': 1,
        'empty file': 1, 'unreadable': 1, 'missing file': 1, 'other size than annotated': 1}
    assert 'annotation 1 of whole.jpg: [50, 3, 60, 11] in 40 x 30' in found['box outside the image'][0]['detail']
    assert found['unreadable'][0]['file'].endswith('text.jpg') and summary['classes'] == dict(cat=1, dog=1)
    assert summary['samples'] == 6 and summary['intact'] == 0


def test_voc(check, tmp_path):
    """A VOC list: broken XML, a missing one, an unknown name, a box of one pixel, which mmdet drops."""
    thing = ('<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>5</ymin><xmax>{}</xmax><ymax>9</ymax></bndbox>'
             '</object>')
    texts = dict(a=thing.format('cat', 3, 9) + thing.format('cow', 3, 9) + thing.format('cat', 7, 7), b='<object>')
    (tmp_path / 'Annotations').mkdir()
    (tmp_path / 'train.txt').write_text('a\nb\nc\n')
    for name in 'abc':
        save(tmp_path / 'JPEGImages' / f'{name}.jpg')
    for name, text in texts.items():
        (tmp_path / 'Annotations' / f'{name}.xml').write_text(
            f'<annotation><size><width>40</width><height>30</height></size>{text}</annotation>')
    found, summary = check(tmp_path, 'mmdet', ['projects.det_data'], dict(
        type='CheckedVOCDataset', ann_file='train.txt', data_prefix=dict(sub_data_root=''),
        metainfo=dict(classes=('cat',)), pipeline=[dict(type='LoadCheckedImage')]))
    assert {kind: len(problems) for kind, problems in found.items()} == {
        'unknown class': 1, 'box without area': 1, 'broken annotation file': 1, 'missing annotation file': 1}
    assert "'cow'" in found['unknown class'][0]['detail'] and summary['classes'] == dict(cat=1)


def test_segmentation(check, tmp_path):
    """Masks with strange values, of another size, missing; pixels are counted with the void label left out."""
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[:10], mask[10:20] = 1, 11
    masks = dict(a=mask, b=np.where(mask == 1, 42, mask).astype(np.uint8), c=mask[:20])
    for name in 'abcd':
        save(tmp_path / 'images' / f'{name}.jpg')
    for name, values in masks.items():
        save(tmp_path / 'labels' / f'{name}.png', values)
    found, summary = check(tmp_path, 'mmseg', ['projects.seg_data'], dict(
        type='CamVidDataset', data_prefix=dict(img_path='images', seg_map_path='labels'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]), workers=2)
    assert {kind: problems[0]['file'][-12:] for kind, problems in found.items()} == {
        'label outside the classes': 'labels/b.png', 'mask of another size': 'labels/c.png',
        'missing file': 'labels/d.png'}
    assert found['label outside the classes'][0]['detail'].startswith('42 (400 times)')
    assert summary['classes']['sky'] == 2 * 400 and summary['classes']['building'] == 2 * 400


def test_rgbd(check, tmp_path):
    """A list of image, mask and depth map: 8 bits of depth, none at all, a missing map, a line of two columns."""
    pytest.importorskip('projects.token_fusion.segmentation')
    mask, depth = np.ones(SIZE[::-1], np.uint8), np.full(SIZE[::-1], 10_000, np.uint16)
    depth[:3] = 0
    depths = dict(a=depth, b=(depth // 256).astype(np.uint8), c=depth * 0)
    for name in 'abcd':
        save(tmp_path / 'rgb' / f'{name}.png')
        save(tmp_path / 'masks' / f'{name}.png', mask)
        if name in depths:
            save(tmp_path / 'depth' / f'{name}.png', depths[name])
    (tmp_path / 'train.txt').write_text('\n'.join(
        [f'rgb/{name}.png\tmasks/{name}.png\tdepth/{name}.png' for name in 'abcd'] + ['rgb/a.png\tmasks/a.png']))
    found, summary = check(tmp_path, 'mmseg', ['projects.token_fusion.segmentation'], dict(
        type='RGBDSegDataset', ann_file='train.txt', metainfo=dict(classes=('wall', 'floor')),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadDepthFromFile'), dict(type='LoadAnnotations')]))
    assert {kind: problems[0]['file'][-11:] for kind, problems in found.items() if kind != 'broken list'} == {
        'unreadable': 'depth/b.png', 'depth map without values': 'depth/c.png', 'missing file': 'depth/d.png'}
    assert 'line 5: 2 columns' in found['broken list'][0]['detail']
    assert summary['missing_depth']['min'] == pytest.approx(0.1) and summary['classes']['floor'] == 4 * 1200


def test_restoration(check, tmp_path):
    """Pairs: another size, a missing partner, a truncated truth; whole pairs pass with status 0."""
    for name, small in dict(a=PICTURE[:15, :20], b=PICTURE[:15, :19], d=PICTURE[:15, :20]).items():
        save(tmp_path / 'small' / f'{name}.png', small)
    for name, cut in dict(a=0, b=0, c=0, d=300).items():
        save(tmp_path / 'large' / f'{name}.png', cut=cut)
    dataset = dict(type='RestorationDataset', scale=2, data_prefix=dict(img='small', gt='large'), pipeline=[
        dict(type='LoadRestorationImage', key='img'), dict(type='LoadRestorationImage', key='gt')])
    found, _ = check(tmp_path, 'mmengine', ['projects.restoration'], dataset)
    assert {kind: problems[0]['file'][-11:] for kind, problems in found.items()} == {
        'missing partner': 'large/c.png', 'pair of other sizes': 'small/b.png', 'truncated image': 'large/d.png'}
    for name in 'bcd':
        (tmp_path / 'small' / f'{name}.png').unlink(missing_ok=True)
        (tmp_path / 'large' / f'{name}.png').unlink()
    found, summary = check(tmp_path, 'mmengine', ['projects.restoration'], dataset, fails=False)
    assert not found and summary['samples'] == summary['intact'] == 1


def test_points(check, tmp_path):
    """Scenes: NaN, an empty file, a mask that is too short, one that is not listed; labels are counted."""
    import mmengine

    scenes = []
    for name in ('a', 'nan', 'empty', 'short', 'unlisted'):
        points = RNG.uniform(0, 3, (20, 6)).astype(np.float32)
        points[3, 1] = np.nan if name == 'nan' else 0
        masks = np.where(np.arange(20) < 5, 1, 3).astype(np.int64)  # wall and cabinet
        for folder, values in dict(points=points[:0] if name == 'empty' else points, semantic_mask=masks,
                                   instance_mask=masks[:-2] if name == 'short' else masks).items():
            (tmp_path / folder).mkdir(exist_ok=True)
            values.tofile(tmp_path / folder / f'{name}.bin')
        info = dict(lidar_points=dict(num_pts_feats=6, lidar_path=f'{name}.bin'), instances=[],
                    pts_semantic_mask_path=f'{name}.bin', pts_instance_mask_path=f'{name}.bin')
        if name == 'unlisted':
            del info['pts_semantic_mask_path']
        scenes.append(info)
    mmengine.dump(dict(metainfo=dict(), data_list=scenes), tmp_path / 'infos.pkl')
    found, summary = check(tmp_path, 'mmdet3d', ['projects.point_grouping'], dict(
        type='ScanNetGroupingDataset', ann_file='infos.pkl', pipeline=[dict(type='LoadGroupingScene')]))
    assert sorted(problem['file'][-9:] for problem in found['unreadable']) == ['s/nan.bin', 'short.bin']
    assert found['empty file'][0]['file'].endswith('points/empty.bin')
    assert 'pts_semantic_mask_path' in found['broken annotation'][0]['detail']
    assert summary['classes']['wall'] == 5 and summary['classes']['cabinet'] == 15 and summary['intact'] == 1
