"""RGB-D segmentation data: real NYUv2 files, geometry that all fields share, and messages of what is wrong."""

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, TRANSFORMS

from projects.token_fusion.segmentation import RGBDDataError


@pytest.fixture(autouse=True, scope='module')
def segmentation_scope():
    init_default_scope('mmseg')


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), array)
    return str(path)


def build(*steps):
    return [TRANSFORMS.build(dict(type=step) if isinstance(step, str) else step) for step in steps]


def run(steps, results):
    for step in steps:
        results = step(results)
    return results


@pytest.fixture
def coded(tmp_path):
    """A sample whose depth (value / 1000 metres) and mask repeat the image's red channel."""
    code = np.arange(8 * 12, dtype=np.uint8).reshape(8, 12) + 1
    image = np.zeros((8, 12, 3), dtype=np.uint8)
    image[..., 2] = code
    return dict(img_path=write(tmp_path / 'rgb' / '1.png', image), seg_fields=[], label_map=None,
                reduce_zero_label=False, seg_map_path=write(tmp_path / 'masks' / '1.png', code),
                depth_path=write(tmp_path / 'depth' / '1.png', code.astype(np.uint16) * 100))


LOAD = ('LoadImageFromFile', dict(type='LoadDepthFromFile', depth_scale=1000))


def test_real_nyuv2(shared):
    """The official list; depth in metres with holes; 40 classes and 255."""
    root = shared / 'samples' / 'seg' / 'nyuv2_rgbd_40'
    dataset = DATASETS.build(dict(
        type='NYUv2RGBDDataset', data_root=str(root), ann_file='val.txt',
        pipeline=[dict(type=step) for step in ('LoadImageFromFile', 'LoadDepthFromFile', 'FitToMask',
                                               'LoadAnnotations', 'PackRGBDInputs')]))
    assert len(dataset) == 1 and len(dataset.metainfo['classes']) == len(dataset.metainfo['palette']) == 40
    sample = dataset[0]
    inputs, labels = sample['inputs'], sample['data_samples'].gt_sem_seg.data
    assert inputs.shape == (4, 480, 640) and labels.shape == (1, 480, 640)
    image = cv2.imread(sample['data_samples'].img_path)
    assert np.array_equal(inputs[:3].numpy(), image[..., ::-1].transpose(2, 0, 1))
    depth = inputs[3]
    assert 0.3 < (depth == 0).float().mean() < 0.4 and 0.5 < depth[depth > 0].min() < depth.max() < 10
    assert set(np.unique(labels)) <= {*range(40), 255} and (labels[0, :6] == 255).all()


def test_official_lists(shared):
    """Of 795 and 654 samples; without their files the first one is named."""
    splits = shared / 'samples' / 'seg' / 'splits'
    for name, count in (('nyudv2_train.txt', 795), ('nyudv2_val.txt', 654)):
        dataset = DATASETS.build(dict(type='NYUv2RGBDDataset', ann_file=str(splits / name), lazy_init=True))
        assert len(dataset.read_list()) == count
    with pytest.raises(RGBDDataError, match=r'rgb/\d+.png: no such file, nor 1961 others that .*nyudv2_val.txt names'):
        dataset.load_data_list()


def test_frame_of_nyuv2_is_cut(tmp_path):
    """6 rows at the top and bottom, 7 columns left and 8 right; the mask's size is that of the original."""
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    image[6:474, 7:632] = 255
    depth = np.where(image[..., 0] > 0, 5000, 10000).astype(np.uint16)
    results = run(build('LoadImageFromFile', 'LoadDepthFromFile', 'FitToMask'), dict(
        img_path=write(tmp_path / 'rgb' / '1.png', image), depth_path=write(tmp_path / 'depth' / '1.png', depth),
        seg_map_path=write(tmp_path / 'masks' / '1.png', np.zeros((468, 625), dtype=np.uint8))))
    assert results['img'].shape == (468, 625, 3) and results['img'].min() == 255
    assert (results['depth'] == 1).all() and results['ori_shape'] == results['img_shape'] == (468, 625)
    write(tmp_path / 'masks' / '1.png', np.zeros((240, 320), dtype=np.uint8))
    results['img'], results['depth'] = image, depth
    with pytest.raises(RGBDDataError, match=r'masks/1.png: 240 x 320 .*rgb/1.png has 480 x 640 .*method="resize"'):
        run(build('FitToMask'), results)
    small = run(build(dict(type='FitToMask', method='resize')), results)
    assert small['img'].shape[:2] == small['depth'].shape == (240, 320)


def test_fields_stay_aligned(coded):
    """Scale, padding, mirror and crop move image, depth and mask alike; what is padded is missing and ignored."""
    np.random.seed(0)
    steps = build(*LOAD, 'LoadAnnotations', dict(type='RandomRGBDScale', ratio_range=(0.1, 0.1), min_side=16),
                  dict(type='PadRGBD', size=(20, 30)), dict(type='RandomFlip', prob=1.),
                  dict(type='RandomCrop', crop_size=(18, 28)), 'PackRGBDInputs')
    sample = run(steps, dict(coded))
    labels, depth = sample['data_samples'].gt_sem_seg.data[0].numpy(), sample['inputs'][3].numpy()
    assert labels.shape == (18, 28) and sample['data_samples'].scale_factor == (2, 2)  # the floor of the shorter side
    inside = labels != 255
    assert np.allclose(depth[inside], labels[inside] / 10) and (depth[~inside] == 0).all()
    red = sample['inputs'][0].numpy()
    assert (np.abs(red[inside] - labels[inside]) < 10).all() and (red[~inside] == 124).all()
    assert (np.diff(labels[inside].reshape(-1)[:10].astype(int)) <= 0).all()  # mirrored


def test_flips_of_a_test_leave_the_mask(coded):
    """Test-time augmentation reads the mask behind flip and scale."""
    steps = build(*LOAD, 'FitToMask', dict(type='TestTimeAug', transforms=[
        [dict(type='Resize', scale_factor=2., keep_ratio=True)],
        [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0., 1.)],
        [dict(type='LoadAnnotations')], [dict(type='PackRGBDInputs')]]))
    found = run(steps, dict(coded))
    plain, mirrored = found['inputs']
    assert plain.shape == (4, 16, 24) and (plain.flip(2) == mirrored).all()
    assert all(sample.gt_sem_seg.data.shape == (1, 8, 12) for sample in found['data_samples'])


def test_depth_beside_its_image(coded):
    """Without a data set, as in the demo: rgb/NAME beside depth/NAME.png."""
    results = run(build(*LOAD), dict(img_path=coded['img_path']))
    assert results['depth_path'] == coded['depth_path'] and results['seg_fields'] == ['depth']
    with pytest.raises(RGBDDataError, match=r'masks/1.png: it is not known where its depth map is.*folder named rgb/'):
        run(build(*LOAD), dict(img_path=coded['seg_map_path']))


@pytest.mark.parametrize(('array', 'scale', 'message'), [
    (np.full((8, 12), 200, dtype=np.uint8), 1000, r'depth/1.png: uint8 with 1 channels. Expected a grey image of 16'),
    (np.full((8, 12), 3000, dtype=np.uint16), 1, r'with depth_scale=1 its distances go from 3e\+03 to 3e\+03 metres'),
    (np.full((8, 12), 200, dtype=np.uint16), 5000, r'with depth_scale=5000 its distances go from 0.04 to 0.04 metres'),
    (np.full((4, 6), 3000, dtype=np.uint16), 1000, r'depth/1.png: 4 x 6 .*rgb/1.png has 8 x 12 .*resize=True'),
    (None, 1000, r'depth/1.png: no such depth map')])
def test_what_is_wrong_with_a_depth_map(coded, tmp_path, array, scale, message):
    path = tmp_path / 'depth' / '1.png'
    path.unlink()
    if array is not None:
        write(path, array)
    with pytest.raises(RGBDDataError, match=message):
        run(build('LoadImageFromFile', dict(type='LoadDepthFromFile', depth_scale=scale)), dict(coded))
    if array is not None and array.shape == (4, 6):
        loader = dict(type='LoadDepthFromFile', depth_scale=scale, resize=True, max_depth=2.)
        assert (run(build('LoadImageFromFile', loader), dict(coded))['depth'] == np.zeros((8, 12))).all()


@pytest.mark.parametrize(('content', 'message'), [
    ('rgb/1.png\tmasks/1.png\n', r'list.txt, line 1: 2 columns. Expected three: image, mask, depth map'),
    ('\n', 'list.txt: the list is empty'), (None, 'list.txt: no such list')])
def test_what_is_wrong_with_a_list(tmp_path, content, message):
    if content is not None:
        (tmp_path / 'list.txt').write_text(content)
    with pytest.raises(RGBDDataError, match=message):
        DATASETS.build(dict(type='RGBDSegDataset', data_root=str(tmp_path), ann_file='list.txt'))
