"""Parts of 3D detection: projection, targets, backbone, weights, metric."""

import argparse
import importlib.util
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet3d.models.backbones import PointNet2SASSG
from mmdet3d.models.layers.fusion_layers import apply_3d_transformation
from mmdet3d.structures import DepthInstance3DBoxes
from mmengine.registry import init_default_scope

from projects.points3d import (
    ball_query_padded,
    furthest_point_sample,
    gather_points,
    group_points,
    three_interpolate,
    three_nn,
)
from projects.token_fusion.detection3d import (
    BoxAP3D,
    CalibrationError,
    DetectionViT,
    PointNet2,
    to_patches,
    to_pixels,
    vit_weights,
)
from projects.token_fusion.detection3d.group_free_head import key_points, owners, points_in_boxes
from projects.token_fusion.detection3d.projection import undo_augmentation

WORKER = Path(__file__).with_name('detection3d_worker.py')


@pytest.fixture(autouse=True)
def point_cloud_scope():
    init_default_scope('mmdet3d')


# ---- projection

def read_sample(shared, name, infos):
    """Points, metadata and annotations of a real sample."""
    folder = shared / 'samples' / 'sunrgbd'
    [info] = pickle.loads((folder / infos).read_bytes())['data_list']
    camera = info['images']['CAM0']
    points = np.fromfile(folder / name, np.float32).reshape(-1, 6)[:, :3]
    meta = dict(depth2img=camera['depth2img'], img_shape=(int(camera['height']), int(camera['width'])), lidar_path=name)
    return torch.from_numpy(points), meta, info['instances']


@pytest.mark.parametrize('augmented', [False, True])
def test_golden_projection(stored, augmented):
    data = stored('project_points')
    axes = torch.tensor([[1, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
    meta = dict(depth2img=data['K'] @ axes @ data['Rtilt'].T, img_shape=(530, 730))
    cosine, sine = data['aug_rot'].cos(), data['aug_rot'].sin()
    if augmented:  # mmdet3d's rows are points
        meta.update(transformation_3d_flow=['HF', 'R', 'S'], pcd_horizontal_flip=True,
                    pcd_rotation=torch.tensor([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]]),
                    pcd_scale_factor=float(data['aug_scale']))
    pixels = to_pixels(data['points_aug' if augmented else 'points_upright_depth'], meta)
    torch.testing.assert_close(pixels.uv[0] + 1, data['uv'], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(pixels.depth[0], data['depth'], rtol=1e-6, atol=1e-6)
    places = to_patches(pixels, (33, 45), 16, (530, 730))
    assert torch.equal(places.visible, data['in_bounds']) and not places.visible.all()
    assert torch.equal(places.index[places.visible], data['patch_index'][data['in_bounds']])


def test_augmentation_is_undone_as_mmdet3d_does_it():
    cosine, sine = np.cos(.4), np.sin(.4)
    meta = dict(transformation_3d_flow=['VF', 'HF', 'R', 'S', 'T'], pcd_horizontal_flip=True, pcd_vertical_flip=True,
                pcd_rotation=np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]]),
                pcd_scale_factor=1.1, pcd_trans=np.array([.1, .2, .3]))
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    moved = apply_3d_transformation(points, 'DEPTH', meta)
    torch.testing.assert_close(undo_augmentation(moved, meta), points)
    meta['pcd_vertical_flip'] = False
    assert not torch.allclose(undo_augmentation(moved, meta), points, atol=.1)


def test_points_of_real_objects_project_into_their_2d_boxes(shared):
    points, meta, objects = read_sample(shared, 'demo/000017.bin', 'demo/sunrgbd_000017_infos.pkl')
    pixels = to_pixels(points, meta)
    for entry in objects:
        box = DepthInstance3DBoxes(np.array([entry['bbox_3d']], np.float32), origin=(.5, .5, .5))
        own = pixels.uv[0][points_in_boxes(points, box)[:, 0]]
        low, high = torch.tensor(entry['bbox']).view(2, 2)
        assert len(own) > 500 and ((own > low - 5) & (own < high + 5)).all(1).float().mean() > .9


def test_calibrations_that_cannot_be(shared):
    points, meta, _ = read_sample(shared, 'points/000001.bin', 'sunrgbd_infos.pkl')
    with pytest.raises(CalibrationError, match='000001.*third row.*K transposed'):  # so it is published
        to_pixels(points, meta)
    with pytest.raises(CalibrationError, match="000001.bin: the key 'depth2img' is missing.*fusion_mode='none'"):
        to_pixels(points, {**meta, 'depth2img': None})
    with pytest.raises(CalibrationError, match=r'\(2, 2\), expected \(3, 3\)'):
        to_pixels(points, {**meta, 'depth2img': np.eye(2)})


def test_several_views_with_pixels_from_0():
    """Behind the camera, outside, at the strip that no patch covers; the view with the point nearer to its middle."""
    first = np.array([[10., 0, 12, 0], [0, 10, 8, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    second = first.copy()
    second[0, 3] = 6  # 6 pixels to the right at a depth of 1
    points = torch.tensor([[0., 0, 1], [-.6, 0, 1], [0, 0, -1], [9, 0, 1], [1.2, 0, 1]])
    meta = dict(depth2img=np.stack([first, second]), img_shape=(17, 25))
    pixels = to_pixels(points, meta)
    assert pixels.uv[0, 0].tolist() == [12, 8] and pixels.inside.tolist() == [
        [True, True, False, False, True], [True, True, False, False, False]]
    places = to_patches(pixels, (2, 3), 8, (17, 25))
    assert places.visible.tolist() == [True, True, False, False, False]
    assert places.index.tolist() == [4, 6 + 4, 0, 0, 0]


# ---- points, targets, results

def rotated_boxes(count=6, seed=0):
    random = torch.Generator().manual_seed(seed)
    return DepthInstance3DBoxes(torch.rand(count, 7, generator=random) * torch.tensor([3, 3, .5, 1, 1, 1, 6.])
                                + torch.tensor([0, 0, 0, .5, .5, .5, 0]))


def test_points_in_rotated_boxes_equal_mmcv():
    from mmcv.ops import points_in_boxes_cpu
    boxes = rotated_boxes()
    points = torch.rand(2000, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([4, 4, 2])
    inside = points_in_boxes(points, boxes)
    assert torch.equal(inside, points_in_boxes_cpu(points[None], boxes.tensor[None])[0].bool()) and inside.sum() > 200
    owner = owners(points, boxes)
    assert torch.equal(owner >= 0, inside.any(1)) and inside[owner >= 0].gather(1, owner[owner >= 0, None]).all()


def test_key_points_are_the_nearest_own_seeds():
    boxes = DepthInstance3DBoxes(torch.tensor([[0., 0, -.5, 2, 2, 1, 0], [5, 0, -.5, 1, 1, 1, 0]]))
    points = torch.tensor([[.1, 0, 0], [.2, 0, 0], [.3, 0, 0], [.4, 0, 0], [.5, 0, 0], [5.1, 0, 0], [9, 0, 0]])
    owner = owners(points, boxes)
    assert owner.tolist() == [0] * 5 + [1, -1]
    assert key_points(points, owner, boxes).tolist() == [1, 1, 1, 1, 0, 1, 0]


def test_backbone_equals_that_of_mmdet3d(monkeypatch):
    """With operators of points3d in the place of those that need CUDA."""
    grouping, sampling = (sys.modules[f'mmcv.ops.{name}'] for name in ('group_points', 'points_sampler'))
    layers = 'mmdet3d.models.layers.pointnet_modules.'
    monkeypatch.setattr(grouping, 'ball_query', lambda low, high, number, xyz, centres: ball_query_padded(
        xyz, centres, high, number, low))
    monkeypatch.setattr(grouping, 'grouping_operation', group_points)
    monkeypatch.setattr(sampling, 'furthest_point_sample', furthest_point_sample)
    monkeypatch.setattr(sys.modules[layers + 'point_sa_module'], 'gather_points', gather_points)
    monkeypatch.setattr(sys.modules[layers + 'point_fp_module'], 'three_nn', three_nn)
    monkeypatch.setattr(sys.modules[layers + 'point_fp_module'], 'three_interpolate', three_interpolate)
    options = dict(in_channels=4, num_points=(64, 32, 16, 8), radius=(.3, .5, .8, 1.2), num_samples=(8, 8, 4, 4),
                   sa_channels=((8, 8), (8, 8), (8, 8), (8, 8)), fp_channels=((8, 8), (8, 8)))
    torch.manual_seed(0)
    theirs, ours = PointNet2SASSG(**options), PointNet2(**options)
    ours.load_state_dict(theirs.state_dict())
    points = torch.rand(2, 200, 4)
    expected, found = theirs(points), ours(points)
    for key in ('fp_xyz', 'fp_features', 'fp_indices'):
        for one, other in zip(expected[key], found[key], strict=True):
            torch.testing.assert_close(one, other)


def test_released_weights_fit(tmp_path, monkeypatch):
    """Keys and table of DeiT; the table is resized, what the classifier lacks stays."""
    torch.manual_seed(0)
    source = DetectionViT(8, 2, 2, 16, num_detection_tokens=0, table_size=(64, 64))
    content = dict(model={**source.state_dict(), 'head.weight': torch.zeros(3)})
    content['model'].pop('det_token')
    content['model']['pos_embed'] = torch.full((1, 17, 8), .5)
    torch.save(content | dict(args=argparse.Namespace(lr=1)), tmp_path / 'deit.pth')
    monkeypatch.setattr('sys.argv', ['vit_weights', str(tmp_path / 'deit.pth'), str(tmp_path / 'own.pth')])
    vit_weights.main()
    branch = DetectionViT(8, 2, 2, 16, num_detection_tokens=5, table_size=(96, 160), mid_positions=True)
    branch.det_token.data.fill_(7)
    branch.load_state_dict(torch.load(tmp_path / 'own.pth')['state_dict'])
    assert branch.pos_embed.shape == (1, 1 + 6 * 10 + 5, 8) and branch.pos_embed[:, :61].sub(.5).abs().max() < 1e-6
    assert torch.equal(branch.blocks[1].mlp.fc1.weight, source.blocks[1].mlp.fc1.weight)
    assert branch.det_token.eq(7).all()
    tokens, grid = branch.embed(torch.zeros(1, 3, 40, 70))
    assert grid == (2, 4) and branch.detections(branch.run(tokens, 0, 2, grid)).shape == (1, 5, 8)


# ---- metric

def load_worker():
    spec = importlib.util.spec_from_file_location('detection3d_worker', WORKER)
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    return worker


def test_metric_equals_that_of_mmdet3d():
    """Where the truth has every class; one that it lacks makes theirs not a number."""
    from mmdet3d.evaluation import IndoorMetric
    worker = load_worker()
    found = worker.evaluate(range(worker.SAMPLES), BoxAP3D(), DepthInstance3DBoxes)
    with np.errstate(all='ignore'), pytest.warns(DeprecationWarning):
        expected = worker.evaluate(range(worker.SAMPLES), IndoorMetric(), DepthInstance3DBoxes)
    assert np.isnan(expected['mAP_0.25']) and 'desk_AP_0.25' not in found
    for key in [key for key in found if not key.startswith('m')]:
        assert found[key] == pytest.approx(expected[key], abs=1e-5) and 0 < found[key] < 1
    for threshold in ('0.25', '0.50'):
        names = ('bed', 'table', 'chair')
        assert found[f'mAP_{threshold}'] == pytest.approx(
            np.mean([expected[f'{name}_AP_{threshold}'] for name in names]), abs=1e-5)
        assert found[f'mAR_{threshold}'] == pytest.approx(
            np.mean([expected[f'{name}_rec_{threshold}'] for name in names]), abs=1e-5)


def test_two_processes_equal_one(root, tmp_path):
    environment = {**os.environ, 'PYTHONPATH': str(root)}
    workers = [subprocess.Popen(
        [sys.executable, str(WORKER), str(rank), str(tmp_path / 'store'), str(tmp_path / f'{rank}.json')],
        cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) for rank in (0, 1)]
    try:
        worker = load_worker()
        single = worker.evaluate(range(worker.SAMPLES), BoxAP3D())
        codes = [process.wait(timeout=600) for process in workers]
    finally:
        for process in workers:
            process.kill()
    assert codes == [0, 0]
    first, second = (json.loads((tmp_path / f'{rank}.json').read_text()) for rank in (0, 1))
    assert first == second == json.loads(json.dumps(single)) and 0 < single['mAP_0.50'] < 1
