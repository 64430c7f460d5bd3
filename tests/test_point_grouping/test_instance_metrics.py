"""The metrics from data samples: perfect predictions, overlaps, sizes of what is kept, and several processes."""

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
from mmdet3d.registry import DATASETS, METRICS
from mmdet3d.structures import Det3DDataSample, PointData
from mmengine.evaluator import Evaluator

from projects.point_grouping.scene_files import IndoorDataError

WORKER = Path(__file__).with_name('grouping_worker.py')
CLASSES = ('wall', 'floor', 'chair', 'table')


def make_sample(masks, labels, scores, semantic, instance, points_semantic=None):
    sample = Det3DDataSample(metainfo=dict(lidar_path='points/scene0000_00.bin'))
    sample.eval_ann_info = dict(pts_semantic_mask=np.asarray(semantic), pts_instance_mask=np.asarray(instance))
    sample.pred_pts_seg = PointData(pts_instance_mask=torch.as_tensor(masks), instance_labels=torch.as_tensor(labels),
                                    instance_scores=torch.as_tensor(scores))
    if points_semantic is not None:
        sample.pred_pts_seg.pts_semantic_mask = torch.as_tensor(points_semantic)
    return sample


def build(name, **options):
    metric = METRICS.build(dict(type=name, **options))
    metric.dataset_meta = dict(classes=CLASSES)
    return metric


def test_overlapping_masks_with_official_figures():
    """Two chairs and a mask over both: the same as the functions say; walls do not count."""
    instance = np.repeat([0, 1, 2, -1], 200)
    semantic = np.repeat([2, 2, 0, -100], 200)
    masks = np.stack([instance == 0, instance == 1, instance < 2, instance == 2])
    metric = build('ScanNetInstanceMetric', classwise=True)
    evaluator = Evaluator([metric])
    evaluator.dataset_meta = metric.dataset_meta
    evaluator.process([make_sample(masks, [2, 2, 2, 0], [.9, .8, .3, .9], semantic, instance)])
    assert len(metric.results) == 1
    found = evaluator.evaluate(1)
    assert found['scannet/chair_AP50'] == found['scannet/AP'] == 1  # the third is a false positive of the lowest score
    assert np.isnan(found['scannet/table_AP50'])
    assert 'scannet/wall_AP50' not in found


def test_what_is_kept_of_a_scene_is_small():
    rng = np.random.default_rng(0)
    instance = rng.integers(-1, 30, 100_000)
    masks = rng.random((60, 100_000)) < .1
    metric = build('ScanNetInstanceMetric')
    sample = make_sample(masks, np.full(60, 2), rng.random(60), np.full(100_000, 2), instance)
    metric.process({}, [sample.to_dict()])
    assert len(pickle.dumps(metric.results)) < 100_000  # packed bits would be 750 kB


def test_s3dis_paints_masks_by_score_and_asks_the_points_for_the_class():
    instance = np.repeat([0, 1], 200)
    semantic = np.repeat([0, 2], 200)
    masks = np.stack([np.ones(400, bool), instance == 1])
    options = dict(masks=masks, labels=[0, 3], scores=[.2, .9], semantic=semantic, instance=instance)
    for points_semantic, precision in ((semantic, 1), (None, .5)):
        metric = build('S3DISInstanceMetric')
        metric.process({}, [make_sample(**options, points_semantic=points_semantic).to_dict()])
        found = metric.evaluate(1)
        assert found['s3dis/mPrec'] == found['s3dis/mRec'] == precision
    assert found['s3dis/AP50'] == 0  # the first has IoU 0.5 with the wall, and not more


@pytest.mark.parametrize('change, error, message', [
    (dict(eval_ann_info={}), IndoorDataError, 'points/scene0000_00.bin: no ground truth'),
    (dict(eval_ann_info=None), IndoorDataError, 'predictions of the test split are written with'),
    (dict(pred_pts_seg=dict(pts_instance_mask=torch.zeros(5), instance_labels=torch.zeros(1),
                            instance_scores=torch.zeros(1))), ValueError, r'\(K, N\), \(K,\), \(K,\) with N = 5'),
])
def test_faulty_samples_are_named(change, error, message):
    sample = make_sample(np.zeros((1, 5), bool), [2], [.5], np.zeros(5), np.zeros(5)).to_dict()
    with pytest.raises(error, match=message):
        build('ScanNetInstanceMetric').process({}, [{**sample, **change}])
    with pytest.raises(ValueError, match='void_classes of ScanNetInstanceMetric: lamp are no classes'):
        build('ScanNetInstanceMetric', void_classes=('lamp',)).process({}, [sample])


def test_ground_truth_of_drawn_rooms_is_perfect(mini_indoor):
    """From the raw layout through converter, data set, pipeline and metric."""
    import projects.point_grouping  # noqa: F401
    dataset = DATASETS.build(dict(
        type='ScanNetGroupingDataset', data_root=str(mini_indoor), ann_file='scannet_infos_val.pkl', test_mode=True,
        pipeline=[dict(type='LoadGroupingScene'), dict(type='NormalizeScene'), dict(type='ToVoxelGrid', voxel_size=.05),
                  dict(type='PackGroupingInputs')]))
    metric = METRICS.build(dict(type='ScanNetInstanceMetric', classwise=True))
    metric.dataset_meta = dataset.metainfo
    for entry in dataset:
        sample = entry['data_samples']
        truth = sample.gt_pts_seg
        ids = torch.arange(int(truth.pts_instance_mask.max()) + 1)
        masks = truth.pts_instance_mask == ids[:, None]
        labels = torch.tensor([int(truth.pts_semantic_mask[mask].mode().values) for mask in masks])
        sample.pred_pts_seg = PointData(pts_instance_mask=masks, instance_labels=labels,
                                        instance_scores=torch.ones(len(ids)))
        metric.process({}, [sample.to_dict()])
    found = metric.evaluate(len(dataset))
    assert found['scannet/AP'] == found['scannet/AP25'] == 1 == found['scannet/chair_AP']


def test_two_processes_equal_one(root, tmp_path):
    environment = {**os.environ, 'PYTHONPATH': str(root)}
    workers = [subprocess.Popen(
        [sys.executable, str(WORKER), str(rank), str(tmp_path / 'store'), str(tmp_path / f'{rank}.json')],
        cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) for rank in (0, 1)]
    try:
        spec = importlib.util.spec_from_file_location('grouping_worker', WORKER)
        worker = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(worker)
        single = worker.evaluate(range(worker.SCENES))
        codes = [process.wait(timeout=300) for process in workers]
    finally:
        for process in workers:
            process.kill()
    assert codes == [0, 0]
    first, second = (json.loads((tmp_path / f'{rank}.json').read_text()) for rank in (0, 1))
    assert first == second == json.loads(json.dumps(single))
    assert 0 < single['scannet/AP'] < 1 and 0 < single['s3dis/mCov'] < 1
