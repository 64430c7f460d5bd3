"""MaskGroup as a whole: perfect points give perfect instances, stages, odd scenes, every config, and the tools."""

import os
import pickle
import sys
import uuid
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS, METRICS, MODELS
from mmdet3d.structures import Det3DDataSample, PointData
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import nn

from projects.point_grouping import MaskGroup
from projects.point_grouping.pictures import instance_colours, matching_colours, render
from projects.runtime.dataset_configs import split_datasets

CONFIGS = sorted(Path(__file__).resolve().parents[2].glob('configs/mask_group_*.py'))
WIDTH = 4


@pytest.fixture(autouse=True)
def no_runner():
    """No epoch or iteration of a runner that another test left."""
    MessageHub.get_instance(str(uuid.uuid4()))


def model_config(**options):
    return dict(dict(
        data_preprocessor=dict(type='GroupingDataPreprocessor', min_shape=16),
        backbone=dict(type='GroupingUNet', widths=(WIDTH, 2 * WIDTH), blocks=1),
        point_head=dict(type='PointHead', num_classes=6, in_channels=WIDTH),
        grouping=dict(type='HierarchicalPointGrouping'),
        mask_score_head=dict(type='MaskScoreHead', in_channels=WIDTH, blocks=1)), **options)


def scene(objects=6, points=150, stuff=400, seed=0, num_parts=1):
    """A scene as the pipeline packs it: objects of classes 2 to 5 of 40 cm, and stuff of classes 0 and 1."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(-1, objects), [stuff, *[points] * objects])
    centres = np.append(rng.uniform(0, 5, (objects, 3)), [[2, 2, 0]], 0)
    size = np.where(owner < 0, 4., .4)[:, None]
    order = rng.permutation(len(owner))
    xyz = (centres[owner] + size * rng.uniform(-.5, .5, (len(owner), 3)))[order].astype(np.float32)
    owner = owner[order]
    labels = np.where(owner < 0, np.arange(len(owner)) % 2, owner % 4 + 2)
    values = torch.from_numpy(np.concatenate([xyz, rng.uniform(-1, 1, xyz.shape)], 1)).float()
    sample = Det3DDataSample(metainfo=dict(num_parts=num_parts, lidar_path=f'scene{seed:04d}_00.bin'))
    sample.gt_pts_seg = PointData(pts_semantic_mask=torch.from_numpy(labels), pts_instance_mask=torch.from_numpy(owner))
    sample.eval_ann_info = dict(pts_semantic_mask=labels, pts_instance_mask=owner)
    cells = torch.from_numpy(np.floor((xyz - xyz.min(0, initial=0)) / .05).astype(np.int64))
    return dict(inputs=dict(points=values, voxel_coords=cells), data_samples=sample)


class Perfect(nn.Module):
    """A point head that knows the truth of a batch."""

    def __init__(self, batch):
        super().__init__()
        labels = torch.cat([sample.gt_pts_seg.pts_semantic_mask for sample in batch['data_samples']])
        self.logits, offsets = nn.functional.one_hot(labels, 6).float(), []
        for points, sample in zip(batch['inputs']['points'], batch['data_samples'], strict=True):
            owner, own = sample.gt_pts_seg.pts_instance_mask, torch.zeros(len(points), 3)
            for number in owner.unique():
                own[owner == number] = points[owner == number, :3].mean(0) - points[owner == number, :3]
            offsets.append(own)
        self.offsets = torch.cat(offsets)

    def forward(self, features):
        return self.logits, self.offsets


def evaluate(metric, samples):
    metric = METRICS.build(metric)
    metric.dataset_meta = dict(classes=('a', 'b', 'c', 'd', 'e', 'f'))
    metric.process({}, [sample.to_dict() for sample in samples])
    return metric.evaluate(len(samples))


@pytest.mark.parametrize('stuff', [False, True])
def test_perfect_points_give_perfect_instances(stuff):
    """Without MaskScoreNet; on S3DIS's terms the stuff classes are instances as well."""
    batch = pseudo_collate([scene(6, seed=0), scene(9, seed=1)])
    model = MaskGroup(**model_config(mask_score_head=None, test_cfg=dict(stuff_as_instances=stuff))).eval()
    model.point_head = Perfect(batch)
    samples = model.test_step(batch)
    assert [len(sample.pred_pts_seg.instance_labels) for sample in samples] == [6 + 2 * stuff, 9 + 2 * stuff]
    if not stuff:
        figures = evaluate(dict(type='ScanNetInstanceMetric', void_classes=('a', 'b')), samples)
    else:
        for sample in samples:  # wall and floor are one instance each in the truth
            owner, labels = (sample.eval_ann_info[key] for key in ('pts_instance_mask', 'pts_semantic_mask'))
            sample.eval_ann_info['pts_instance_mask'] = np.where(owner < 0, 100 + labels, owner)
        figures = evaluate(dict(type='S3DISInstanceMetric'), samples)
        assert {key.split('/')[1] for key in figures} == {'AP', 'AP50', 'AP25', 'mPrec', 'mRec', 'mCov', 'mWCov'}
    assert all(value == pytest.approx(1) for value in figures.values()), figures


@pytest.mark.parametrize('options', [
    dict(objects=0), dict(objects=0, stuff=1), dict(objects=1, points=1, stuff=0), dict(objects=1, points=60, stuff=0)])
def test_scenes_of_hardly_anything(options):
    """No foreground, one point, one object alone: losses are finite, and predictions have their shapes."""
    torch.manual_seed(0)
    batch = pseudo_collate([scene(**options)])
    model = MaskGroup(**model_config())
    optimizer = build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3)))
    losses = model.train_step(batch, optimizer)
    assert all(torch.isfinite(torch.as_tensor(value)) for value in losses.values()) and 'loss_score' in losses
    [sample] = model.eval().test_step(batch)
    found, count = sample.pred_pts_seg, len(batch['inputs']['points'][0])
    instances = len(found.instance_labels)
    assert found.pts_semantic_mask.shape == (count,) and found.pts_instance_mask.shape == (instances, count)
    assert found.pts_instance_mask.dtype == torch.bool and found.instance_scores.shape == (instances,)


def test_instances_are_those_of_the_masks_and_come_best_first():
    """Scores pass the threshold, masks have the size, class and points that their group had."""
    torch.manual_seed(0)
    batch = pseudo_collate([scene(6)])
    model = MaskGroup(**model_config(test_cfg=dict(min_points=20, mask_thr_logit=-9., score_thr=0.))).eval()
    model.point_head = Perfect(batch)
    [whole] = model.test_step(batch)
    truth = batch['data_samples'][0].gt_pts_seg
    found = whole.pred_pts_seg
    assert len(found.instance_scores) == 6 and (found.instance_scores.diff() <= 0).all()
    for mask, label in zip(found.pts_instance_mask, found.instance_labels, strict=True):
        [owner] = truth.pts_instance_mask[mask].unique()
        assert owner % 4 + 2 == label and mask.sum() == 150
    model.test_cfg['score_thr'] = float(found.instance_scores[2])
    assert len(model.test_step(batch)[0].pred_pts_seg.instance_scores) == 2
    model.test_cfg.update(score_thr=0., mask_thr_logit=9.)
    assert len(model.test_step(batch)[0].pred_pts_seg.instance_scores) == 0  # nothing is left of the groups


def test_parts_of_a_room_are_seen_apart_and_grouped_together():
    entry = scene(2, points=200, num_parts=3)
    # a strided layer has no output beyond its last stride, so that the grids must be of one size
    model = MaskGroup(**model_config(data_preprocessor=dict(type='GroupingDataPreprocessor', min_shape=128))).eval()
    with torch.no_grad():
        whole = model.extract_feat(model.data_preprocessor(pseudo_collate([entry]))['inputs'])
        entry['data_samples'].set_metainfo(dict(num_parts=1))
        for part in range(3):
            own = dict(inputs={key: value[part::3] for key, value in entry['inputs'].items()},
                       data_samples=entry['data_samples'])
            alone = model.extract_feat(model.data_preprocessor(pseudo_collate([own]))['inputs'])
            torch.testing.assert_close(whole[part::3], alone)


def test_stages():
    """Points, then groups, then masked groups; the buffer goes with the weights."""
    torch.manual_seed(0)
    batch = pseudo_collate([scene(3), scene(2, seed=1)])
    model = MaskGroup(**model_config(stages=dict(grouping=2, mask=4, by_epoch=False)))
    model.point_head.requires_grad_(False)
    seen = []
    forward = model.mask_score_head.forward
    model.mask_score_head.forward = lambda *args: seen.append(args[3]) or forward(*args)
    hub = MessageHub.get_current_instance()
    for iteration in range(5):
        hub.update_info('iter', iteration)
        losses = model.loss(**{f'batch_{key}': value for key, value in model.data_preprocessor(batch).items()})
        assert ('loss_score' in losses) == (iteration >= 2)
    assert seen == [False, False, True]
    other = MaskGroup(**model_config(stages=dict(grouping=2, mask=4, by_epoch=False))).eval()
    assert other._stage() == (False, False)
    assert len(other.test_step(batch)[0].pred_pts_seg.instance_labels) == 0  # untrained scores are not used
    other.load_state_dict(model.state_dict())
    assert other._stage() == (True, True) and int(other.progress) == 4


def test_a_training_that_ends_too_soon_is_told():
    batch = pseudo_collate([scene(1)])
    model = MaskGroup(**model_config(stages=dict(grouping=9, mask=9)))
    hub = MessageHub.get_current_instance()
    hub.update_info('epoch', 0)
    hub.update_info('max_epochs', 9)
    with pytest.warns(UserWarning, match='ends after 9 epochs'):
        model.loss(*model.data_preprocessor(batch).values())


@pytest.mark.parametrize('options, words', [
    (dict(stages=dict(grouping=5, mask=3)), 'grouping <= mask'), (dict(stages=dict(masks=3)), 'unknown masks'),
    (dict(test_cfg=dict(nms=.3)), 'unknown nms')])
def test_arguments_that_make_no_sense(options, words):
    with pytest.raises(ValueError, match=words):
        MaskGroup(**model_config(**options))


# ---- configs

def make_s3dis(folder, rooms):
    """Six areas of one room each, out of rooms of the mini set; classes 0 to 12."""
    for part in ('points', 'semantic_mask', 'instance_mask'):
        (folder / part).mkdir(parents=True)
    for area in range(1, 7):
        name = f'Area_{area}_office_1'
        source = sorted((rooms / 'semantic_mask').glob('*.bin'))[area % 5]
        for part in ('points', 'instance_mask'):
            os.symlink(rooms / part / source.name, folder / part / f'{name}.bin')
        (np.fromfile(source, np.int64) % 13).tofile(folder / 'semantic_mask' / f'{name}.bin')
        info = dict(lidar_points=dict(num_pts_feats=6, lidar_path=f'{name}.bin'), instances=[],
                    pts_semantic_mask_path=f'{name}.bin', pts_instance_mask_path=f'{name}.bin')
        content = dict(metainfo=dict(categories={}, dataset='s3dis', info_version='1.1'), data_list=[info])
        (folder / f's3dis_infos_Area_{area}.pkl').write_bytes(pickle.dumps(content))


@pytest.fixture(scope='session')
def data_folder(mini_indoor, tmp_path_factory):
    """A folder with drawn rooms in the place of every data set of the configs."""
    folder = tmp_path_factory.mktemp('grouping_data')
    for name in ('scannet', 'mini_indoor'):
        os.symlink(mini_indoor, folder / name)
    make_s3dis(folder / 's3dis', mini_indoor)
    return folder


def narrowed(model):
    """The model with as many levels and few channels, in its last stage, with groups to score."""
    model.backbone.update(widths=[WIDTH] * len(model.backbone.widths), blocks=1)
    model.point_head.in_channels = model.mask_score_head.in_channels = WIDTH
    model.mask_score_head.blocks = 1
    # groups of whatever class the random weights predict
    model.grouping.update(min_npoint=5, max_train_proposals=20, stuff_classes=())
    model.stages.update(grouping=0, mask=0)
    return model


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_every_config_trains_and_tests(path, data_folder, monkeypatch):
    monkeypatch.setenv('MMDOWNSTREAM_DATA', str(data_folder))
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    assert all(entry.root.startswith(str(data_folder)) for entry in split_datasets(cfg))
    for entry in split_datasets(cfg, ('train',)):
        entry.cfg['pipeline'].insert(1, dict(type='SubsamplePoints', ratio=.2))  # sooner done
    np.random.seed(0)
    torch.manual_seed(0)
    full = MODELS.build(cfg.model)
    assert full.backbone.output_layer[0].num_features == full.mask_score_head.score.in_features
    model = MODELS.build(narrowed(cfg.model))
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    rooms = DATASETS.build(cfg.train_dataloader.dataset)
    losses = model.train_step(pseudo_collate([rooms[0], rooms[1]]), optimizer)
    masks = {'loss_mask'} if cfg.model.mask_score_head.get('with_mask', True) else set()
    assert {key for key in losses if key.startswith('loss_')} == {
        'loss_semantic', 'loss_offset', 'loss_direction', 'loss_score'} | masks
    assert torch.isfinite(losses['loss']) and losses['num_proposals'] > 0
    samples = model.eval().test_step(pseudo_collate([DATASETS.build(cfg.test_dataloader.dataset)[0]]))
    metric = METRICS.build(cfg.test_evaluator)
    metric.dataset_meta = rooms.metainfo
    metric.process({}, [sample.to_dict() for sample in samples])
    assert f'{metric.default_prefix}/AP50' in metric.evaluate(1)
    assert samples[0].num_parts == (4 if 's3dis' in path.stem else 1)


# ---- pictures and tools

def test_colours_of_pairs_match():
    true = np.repeat([-1, 0, 1, 2], 10)
    predicted = np.concatenate([np.full(10, -1), np.full(10, 1), np.full(8, 0), np.full(12, 2)])
    own, other = matching_colours(predicted, true, 3)
    assert (own[[1, 0, 2]] == other).all() and len(np.unique(instance_colours(40), axis=0)) == 40
    own, other = matching_colours(np.full(40, -1), true, 0)
    assert own.shape == (0, 3) and other.shape == (3, 3)


def test_near_points_are_drawn_over_far_ones():
    xyz = np.array([[0, 0, 1.], [0, 0, 0], [1, 1, 0]])
    red, blue = np.array([255, 0, 0]), np.array([0, 0, 255])
    image = render(xyz, np.stack([red, blue, blue]).astype(np.uint8), 0, 90, side=60)
    left, right = (half.reshape(-1, 3) for half in np.split(image, 2, 1))
    assert (left == red).all(1).any() and not (left == blue).all(1).any() and (right == blue).all(1).any()
    assert (image[:30] == blue).all(2).any()  # y is up


def test_tools_train_resume_and_test(root, data_folder, load_tool, monkeypatch, tmp_path):
    monkeypatch.setenv('MMDOWNSTREAM_DATA', str(data_folder))
    monkeypatch.chdir(tmp_path)
    config = str(root / 'configs/mask_group_mini.py')
    options = ['model.backbone.widths=[4,4]', 'model.backbone.blocks=1', 'model.point_head.in_channels=4',
               'model.mask_score_head.in_channels=4', 'model.stages.grouping=1', 'model.stages.mask=2',
               'model.grouping.min_npoint=5', 'model.grouping.max_train_proposals=10', 'model.test_cfg.score_thr=0.',
               'train_cfg.val_interval=9', 'default_hooks.checkpoint.interval=1']

    def tool(name, *arguments, more=()):
        monkeypatch.setattr(sys, 'argv', [name, config, *arguments, '--cfg-options', *options, *more])
        load_tool(name).main()

    tool('train.py', '--work-dir', 'run', more=['train_cfg.max_epochs=2'])
    first = torch.load('run/epoch_2.pth', weights_only=False)['state_dict']
    assert int(first['progress']) == 1
    tool('train.py', '--work-dir', 'run', '--resume', more=['train_cfg.max_epochs=3'])
    assert int(torch.load('run/epoch_3.pth', weights_only=False)['state_dict']['progress']) == 2
    log = sorted(Path('run').glob('*/*.log'))[-1].read_text()
    assert 'loss_mask' in log and 'Epoch(train) [3]' in ' '.join(log.split())
    tool('test.py', 'run/epoch_3.pth', '--work-dir', 'tested', '--show-dir', 'shown', '--out', 'found.pkl')
    [shown] = Path('tested').glob('*/shown')
    assert {path.name for path in shown.iterdir()} == {
        f'scene{number:04d}_00.{kind}' for number in (500, 501) for kind in ('png', 'ply')}
    assert cv2.imread(str(shown / 'scene0500_00.png')).shape == (960, 1440, 3)
    found = pickle.loads(Path('found.pkl').read_bytes())
    masks = found[0]['pred_pts_seg']['pts_instance_mask']
    head, _, body = (shown / 'scene0500_00.ply').read_bytes().partition(b'end_header\n')
    assert f'element vertex {masks.shape[1]}'.encode() in head and len(body) == masks.shape[1] * (12 + 3 + 8)
    assert 'scannet/AP50' in sorted(Path('tested').glob('*/*.log'))[-1].read_text()
