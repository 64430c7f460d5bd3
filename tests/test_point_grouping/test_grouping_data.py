"""Data sets and transforms: real samples, what is refused by name, and what the augmentation keeps."""

import pickle
import shutil

import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS, TRANSFORMS
from mmdet3d.structures import DepthPoints
from scipy.interpolate import RegularGridInterpolator

import projects.point_grouping  # noqa: F401
from projects.point_grouping.scene_files import IndoorDataError, compact, map_instances
from projects.point_grouping.transforms import elastic_field, voxel_keys

TEST = [dict(type='LoadGroupingScene'), dict(type='NormalizeScene'), dict(type='ToVoxelGrid', voxel_size=.05),
        dict(type='PackGroupingInputs')]
TRAIN = [dict(type='LoadGroupingScene'), dict(type='SubsamplePoints', ratio=.5), dict(type='NormalizeScene'),
         dict(type='RandomLinearMap'), dict(type='ColorShift'), dict(type='ToVoxelGrid', voxel_size=.05),
         dict(type='ElasticDistortion'), dict(type='RandomVoxelCrop', max_points=3000, min_points=500),
         dict(type='PackGroupingInputs')]


def build(name, root, ann, pipeline=TEST, **options):
    return DATASETS.build(dict(type=name, data_root=str(root), pipeline=pipeline, **ann, **options))


def scannet(root, ann_file='scannet_infos_val.pkl', **options):
    return build('ScanNetGroupingDataset', root, dict(ann_file=ann_file), **options)


def scene(count=400, seed=0, **more):
    """A scene between loading and packing."""
    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.random((count, 3)) * 4, rng.random((count, 3)) * 255], 1).astype(np.float32)
    return dict(points=DepthPoints(points, points_dim=6, attribute_dims=dict(color=[3, 4, 5])), lidar_path='a.bin',
                pts_semantic_mask=rng.integers(0, 20, count), pts_instance_mask=rng.integers(-1, 9, count), **more)


# ---- data sets

def test_real_scannet_scene(shared):
    """20 classes and instances; ids of walls and floors are dropped, objects outside of the benchmark keep theirs."""
    root = shared / 'samples' / 'scannet'
    dataset = scannet(root, 'scannet_infos.pkl', test_mode=True)
    sample = dataset[0]['data_samples']
    semantic, instance = (np.fromfile(root / folder / 'scene0000_00.bin', np.int64)
                          for folder in ('semantic_mask', 'instance_mask'))
    labels, numbers = sample.gt_pts_seg.pts_semantic_mask.numpy(), sample.gt_pts_seg.pts_instance_mask.numpy()
    assert set(np.unique(labels[semantic == 7])) == {6} and set(np.unique(labels[semantic == 33])) == {16}
    assert (labels[np.isin(semantic, [0, 15, 18, 22, 25, 38, 40])] == -100).all()
    dropped = (instance == 0) | np.isin(semantic, (1, 2))
    assert (numbers[dropped] == -1).all() and (numbers[~dropped] >= 0).all()
    kept = np.unique(instance[~dropped])
    np.testing.assert_array_equal(np.unique(numbers), np.arange(-1, len(kept)))
    np.testing.assert_array_equal(kept[numbers[~dropped]], instance[~dropped])
    np.testing.assert_array_equal(sample.eval_ann_info['pts_instance_mask'], numbers)
    assert sample.eval_ann_info['pts_instance_mask'].flags.writeable
    assert sample.num_parts == 1 and sample.lidar_path.endswith('points/scene0000_00.bin')
    assert len(dataset.metainfo['classes']) == 20


def test_real_s3dis_room(shared):
    root = shared / 'samples' / 's3dis'
    dataset = build('S3DISGroupingDataset', root, dict(ann_files=['s3dis_infos.pkl']), test_mode=True)
    entry = dataset[0]
    semantic, instance = (np.fromfile(root / folder / 'Area_1_office_2.bin', np.int64)
                          for folder in ('semantic_mask', 'instance_mask'))
    truth = entry['data_samples'].gt_pts_seg
    np.testing.assert_array_equal(truth.pts_semantic_mask, semantic)
    np.testing.assert_array_equal(truth.pts_instance_mask, np.unique(instance, return_inverse=True)[1])
    names = (shared / 'samples' / 's3dis' / 'meta_data' / 'class_names.txt').read_text().split()
    assert list(dataset.metainfo['classes']) == names
    points = entry['inputs']['points']
    assert points.shape == (100, 6) and points[:, 3:].abs().max() <= 1
    np.testing.assert_allclose(points[:, :3].mean(0), 0, atol=1e-5)


def test_several_areas_are_one_data_set(mini_indoor):
    files = ['scannet_infos_train.pkl', 'scannet_infos_val.pkl']
    assert len(build('S3DISGroupingDataset', mini_indoor, dict(ann_files=files), lazy_init=False)) == 5
    with pytest.raises(IndoorDataError, match='scene0000_00.bin is listed twice'):
        build('S3DISGroupingDataset', mini_indoor, dict(ann_files=[files[0]] * 2))
    with pytest.raises(IndoorDataError, match="ann_files='a.pkl', expected a list"):
        build('S3DISGroupingDataset', mini_indoor, dict(ann_files='a.pkl'))


def test_scenes_of_the_test_split_have_no_masks(mini_indoor):
    sample = scannet(mini_indoor, 'scannet_infos_test.pkl', test_mode=True)[0]['data_samples']
    assert 'gt_pts_seg' not in sample and sample.eval_ann_info == {}
    with pytest.raises(IndoorDataError, match='scene0707_00.bin has no pts_semantic_mask_path and no pts_instance'):
        scannet(mini_indoor, 'scannet_infos_test.pkl')


def test_training_samples(mini_indoor):
    """A crop of half of the points, augmented; instances without gaps; evaluation keeps nothing."""
    np.random.seed(0)
    dataset = scannet(mini_indoor, 'scannet_infos_train.pkl', pipeline=TRAIN)
    entry = dataset[0]
    inputs, sample = entry['inputs'], entry['data_samples']
    count = len(inputs['points'])
    assert 500 <= count <= 3000 and inputs['points'].dtype == torch.float32
    assert inputs['voxel_coords'].shape == (count, 3) and inputs['voxel_coords'].min() == 0
    numbers = sample.gt_pts_seg.pts_instance_mask
    assert numbers.unique().tolist() == list(range(-1, int(numbers.max()) + 1))
    assert sample.eval_ann_info is None
    assert not torch.equal(dataset[0]['inputs']['points'][:9], inputs['points'][:9])


def broken(root, tmp_path, change):
    """A copy of the validation split, changed by a function of its folder and the first scene's points."""
    target = tmp_path / 'data'
    for folder in ('points', 'semantic_mask', 'instance_mask'):
        shutil.copytree(root / folder, target / folder)
    shutil.copy(root / 'scannet_infos_val.pkl', target)
    change(target, np.fromfile(target / 'points' / 'scene0500_00.bin', np.float32).reshape(-1, 6))
    return target


def _nan(folder, points):
    points[7, 2] = np.nan
    points.tofile(folder / 'points' / 'scene0500_00.bin')


def _edit_ids(name, change):
    def edit(folder, points):
        path = folder / name / 'scene0500_00.bin'
        change(np.fromfile(path, np.int64)).tofile(path)
    return edit


def _info(content):
    def edit(folder, points):
        (folder / 'scannet_infos_val.pkl').write_bytes(content)
    return edit


@pytest.mark.parametrize('change, message', [
    (_nan, r'points/scene0500_00.bin: 1 of \d+ points are not finite, the first is number 7'),
    (lambda folder, points: points[:1].tofile(folder / 'points/scene0500_00.bin'), '1 points, expected at least 2'),
    (lambda folder, points: points[:0].tofile(folder / 'points/scene0500_00.bin'), '0 bytes, expected a multiple'),
    (lambda folder, points: points.ravel()[:-1].tofile(folder / 'points/scene0500_00.bin'), 'multiple of 24 above 0'),
    (lambda folder, points: (folder / 'points/scene0500_00.bin').unlink(), '_00.bin: no such file .*lidar_path'),
    (lambda folder, points: (folder / 'instance_mask/scene0500_00.bin').unlink(),
     'instance_mask/scene0500_00.bin: no such file .*key pts_instance_mask_path.*scannet_to_mmdet3d.py'),
    (_edit_ids('instance_mask', lambda ids: ids[:-1]), r'one int64 for each of the \d+ points'),
    (_edit_ids('semantic_mask', lambda ids: ids.astype(np.int32)), 'They seem to be of 32 bits'),
    (_edit_ids('semantic_mask', lambda ids: ids + 41), 'semantic id .*, expected 0 to 40'),
    (_edit_ids('instance_mask', lambda ids: ids - 1), 'instance_mask/scene0500_00.bin: id -1'),
    (_info(b'nothing'), 'scannet_infos_val.pkl: no info file.*convert the data set again .key ann_file'),
    (_info(pickle.dumps([dict(point_cloud=1)])), 'no info file .TypeError'),
    (_info(pickle.dumps(dict(metainfo={}, data_list=[]))), 'lists no scenes'),
    (lambda folder, points: (folder / 'scannet_infos_val.pkl').unlink(), 'scannet_infos_val.pkl: no such file'),
])
def test_broken_files_are_named(mini_indoor, tmp_path, change, message):
    with pytest.raises(IndoorDataError, match=message):
        scannet(broken(mini_indoor, tmp_path, change), test_mode=True)[0]


def test_scene_without_foreground(mini_indoor, tmp_path):
    """Walls only: no instance is left, in training and in test."""
    root = broken(mini_indoor, tmp_path, _edit_ids('semantic_mask', np.ones_like))
    for options in (dict(test_mode=True), dict(pipeline=TRAIN)):
        truth = scannet(root, **options)[0]['data_samples'].gt_pts_seg
        assert truth.pts_instance_mask.unique().tolist() == [-1]
    with pytest.raises(IndoorDataError, match='stuff_classes: lamp; expected names'):
        scannet(mini_indoor, stuff_classes=('lamp',))


def test_instances_of_mixed_labels():
    """The most frequent label decides whether an instance is stuff."""
    ids, labels = np.array([4, 4, 4, 9, 9, 0]), np.array([0, 0, 5, 5, -100, 5])
    assert map_instances(ids, labels, np.array([0, 1])).tolist() == [-1, -1, -1, 0, 0, -1]
    assert compact(np.array([7, -1, 3, 7])).tolist() == [1, -1, 0, 1]


# ---- transforms

def transform(name, results, **options):
    return TRANSFORMS.build(dict(type=name, **options))(results)


def test_linear_map_of_one_fixed_angle():
    results = scene()
    before = results['points'].tensor.clone()
    after = transform('RandomLinearMap', results, jitter=0, flip_prob=0, rotation=(np.pi / 2,) * 2)['points'].tensor
    torch.testing.assert_close(after[:, :3], before[:, [1, 0, 2]] * torch.tensor([-1., 1, 1]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(after[:, 3:], before[:, 3:])


def test_linear_map_is_jitter_flip_and_rotation():
    np.random.seed(0)
    draw = TRANSFORMS.build(dict(type='RandomLinearMap', jitter=0)).matrix
    matrices = np.array([draw() for _ in range(400)])
    np.testing.assert_allclose(matrices @ matrices.transpose(0, 2, 1), np.tile(np.eye(3), (400, 1, 1)), atol=1e-12)
    assert 150 < (np.linalg.det(matrices) < 0).sum() < 250
    jittered = np.array([TRANSFORMS.build(dict(type='RandomLinearMap', flip_prob=0, rotation=(0, 0))).matrix()
                         for _ in range(400)]) - np.eye(3)
    assert abs(jittered.std() - .1) < .01


def test_elastic_distortion_moves_the_grid_only():
    np.random.seed(0)
    results = transform('ToVoxelGrid', scene(), voxel_size=.02)
    before, points = results['grid_coords'].copy(), results['points'].tensor.clone()
    results = transform('ElasticDistortion', results)
    moved = results['grid_coords'] - before
    torch.testing.assert_close(results['points'].tensor, points)
    assert results['grid_coords'].dtype == np.float32 and 1 < abs(moved).mean() < 40
    # neighbours move alike: the field is smooth at the scale of its grid
    field = elastic_field(np.repeat(before, 2, 0) + np.tile([[0, 0, 0], [.5, 0, 0]], (len(before), 1)), 20)
    assert abs(field[::2] - field[1::2]).max() < .05


def test_elastic_field_against_its_definition():
    """The same draws, smoothed by explicit sums, interpolated by scipy on PointGroup's axes."""
    coords = np.random.default_rng(1).uniform(-50, 70, (40, 3))
    np.random.seed(3)
    field = elastic_field(coords, 20)
    np.random.seed(3)
    size = abs(coords).max(0).astype(int) // 20 + 3
    axes = [np.linspace(-(count - 1) * 20, (count - 1) * 20, count) for count in size]
    for channel in range(3):
        noise = np.random.randn(*size).astype(np.float32)
        for axis in (0, 1, 2, 0, 1, 2):
            padded = np.pad(noise, [(1, 1) if axis == other else (0, 0) for other in range(3)])
            count = noise.shape[axis]
            noise = sum(np.take(padded, range(k, k + count), axis) for k in range(3)) / 3
        expected = RegularGridInterpolator(axes, noise, bounds_error=False, fill_value=0)(coords)
        np.testing.assert_allclose(field[:, channel], expected, atol=1e-5)


def test_crop_keeps_to_both_limits():
    np.random.seed(0)
    for limits in (dict(max_points=300), dict(max_points=None, max_voxels=200)):
        results = transform('ToVoxelGrid', scene(2000), voxel_size=.1)
        results = transform('RandomVoxelCrop', results, window=40, step=4, min_points=20, **limits)
        count = len(results['points'])
        assert 20 <= count <= (limits['max_points'] or 2000)
        assert len(results['pts_instance_mask']) == len(results['grid_coords']) == count
        packed = transform('PackGroupingInputs', results)['inputs']['voxel_coords'].numpy()
        assert len(np.unique(voxel_keys(packed))) <= (limits.get('max_voxels') or count)


def test_crop_leaves_small_scenes_and_gives_up_hopeless_ones():
    results = transform('ToVoxelGrid', scene(50))
    assert len(transform('RandomVoxelCrop', results, max_points=50, min_points=5000)['points']) == 50
    assert transform('RandomVoxelCrop', transform('ToVoxelGrid', scene(500)), max_points=10, min_points=400) is None
    same = scene(500)
    same['points'].tensor[:, :3] = 1.  # a window of any size holds all points
    assert transform('RandomVoxelCrop', transform('ToVoxelGrid', same), max_points=100, min_points=1) is None


def test_subsample_keeps_points_and_masks_together():
    results = scene()
    results['points'].tensor[:, 0] = torch.from_numpy(results['pts_instance_mask']).float()
    results = transform('SubsamplePoints', results, ratio=.25)
    assert len(results['points']) == 100
    np.testing.assert_array_equal(results['points'].tensor[:, 0], results['pts_instance_mask'])
    assert len(transform('SubsamplePoints', scene(3))['points']) == 2


def test_parts_are_noted_and_points_stay():
    results = transform('InterleavedParts', transform('ToVoxelGrid', scene()))
    packed = transform('PackGroupingInputs', results)
    assert packed['data_samples'].num_parts == 4 and len(packed['inputs']['points']) == 400


@pytest.mark.parametrize('options, message', [
    (dict(type='SubsamplePoints', ratio=0), 'ratio=0, expected above 0'),
    (dict(type='RandomLinearMap', flip_prob=2), 'flip_prob=2'),
    (dict(type='ToVoxelGrid', voxel_size=0), 'metres above 0'),
    (dict(type='ElasticDistortion', granularity=(6,)), 'as many of both'),
    (dict(type='RandomVoxelCrop', step=0), 'expected 1 or more'),
    (dict(type='InterleavedParts', num_parts=0), 'expected 1 or more'),
])
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        TRANSFORMS.build(options)
