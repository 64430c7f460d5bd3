"""3D detection as a whole: every config, the exchange, results of batches, data, pictures."""

import os
import pickle
import sys
import types
import uuid
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet3d.models.dense_heads import GroupFree3DHead
from mmdet3d.registry import DATASETS, METRICS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from projects.points3d import gather_points
from projects.runtime.errors import ConfigError
from projects.token_fusion.detection3d import CalibrationError, ProjectionPictureHook
from projects.token_fusion.detection3d.exchange import LayerwiseExchange

CONFIGS = sorted(Path(__file__).resolve().parents[2].glob('configs/*groupfree3d*.py'))


@pytest.fixture(autouse=True)
def scope_without_runner():
    """The default scope, and no epoch of a runner that another test left."""
    init_default_scope('mmdet3d')
    MessageHub.get_instance(str(uuid.uuid4()))


# ---- configs

SMALL = dict(num_points=(48, 32, 16, 8), num_samples=(8, 8, 4, 4), sa_channels=((8, 8), (8, 16), (8, 16), (8, 16)))


def shrunk(cfg):
    """A config of the same structure, with narrow layers, few points and a small image."""
    width = 16
    model = cfg.model
    model.backbone.update(SMALL, fp_channels=((16, 16), (16, width)))
    head = model.bbox_head
    head.update(in_channels=width, num_proposal=8)
    head.transformerlayers.update(
        attn_cfgs=dict(type='GroupFree3DMHA', embed_dims=width, num_heads=2, attn_drop=0.),
        ffn_cfgs=dict(embed_dims=width, feedforward_channels=width, ffn_drop=0.))
    head.decoder_self_posembeds = dict(type='ConvBNPositionalEncoding', input_channel=6, num_pos_feats=width)
    head.decoder_cross_posembeds = dict(type='ConvBNPositionalEncoding', input_channel=3, num_pos_feats=width)
    head.pred_layer_cfg.update(in_channels=width, shared_conv_channels=(width, width))
    if 'image_branch' in model:
        model.image_branch.update(embed_dims=12, num_heads=2, num_detection_tokens=12, drop_path_rate=0.)
        model.image_head.embed_dims = 12
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        for step in loader.dataset.pipeline:
            if step['type'] in ('PointSample', 'FixedPointSample'):
                step['num_points'] = 256
            elif step['type'] in ('Resize', 'LoadViews'):
                step['scale'] = (128, 96)
    return cfg


def write_scannet(folder, rooms):
    """Three scans of one upright box each, with two frames out of the rooms."""
    for part in ('points', 'instance_mask', 'semantic_mask'):
        (folder / part).mkdir(parents=True)
    os.symlink(rooms / 'sunrgbd_trainval/image', folder / 'frames')
    infos = []
    rng = np.random.default_rng(0)
    for number in range(3):
        name, own = f'scene000{number}_00.bin', np.repeat([1, 0], 150)
        xyz = rng.uniform((-.4, 1.6, -.4), (.4, 2.4, .4), (300, 3)) * np.where(own[:, None], 1, 3)
        np.concatenate([xyz, rng.random((300, 3))], 1).astype(np.float32).tofile(folder / 'points' / name)
        own.astype(np.int64).tofile(folder / 'instance_mask' / name)
        (own * 5).astype(np.int64).tofile(folder / 'semantic_mask' / name)
        frames = {f'CAM{view}': dict(
            img_path=f'frames/{view + 1:06d}.jpg', height=96, width=128,
            depth2img=[[100, 64, 0, view], [0, 48, -100, 0], [0, 1, 0, 0], [0, 0, 0, 1]]) for view in range(2)}
        infos.append(dict(
            lidar_points=dict(num_pts_feats=6, lidar_path=name), images=frames, axis_align_matrix=np.eye(4).tolist(),
            pts_instance_mask_path=name, pts_semantic_mask_path=name,
            instances=[dict(bbox_3d=[0, 2, 0, .8, .8, .8], bbox_label_3d=2)]))
    content = pickle.dumps(dict(metainfo=dict(categories={}, dataset='scannet', info_version='1.1'), data_list=infos))
    for split in ('train', 'val'):
        (folder / f'scannet_frames_infos_{split}.pkl').write_bytes(content)


@pytest.fixture(scope='module')
def data_folder(tmp_path_factory, load_tool):
    """Drawn rooms in the place of SUN RGB-D, the first without objects, and scans in the place of ScanNet."""
    folder = tmp_path_factory.mktemp('detection3d')
    rooms = load_tool('dataset_converters/make_mini_rgbd.py').generate(
        folder / 'mini/rgbd', train=3, val=2, workers=1, progress=False) / 'sunrgbd'
    path = rooms / 'sunrgbd_infos_train.pkl'
    infos = pickle.loads(path.read_bytes())
    infos['data_list'][0]['instances'] = []
    path.write_bytes(pickle.dumps(infos))
    os.symlink(rooms, folder / 'sunrgbd')
    write_scannet(folder / 'scannet', rooms)
    return folder


@pytest.fixture
def load(data_folder, monkeypatch):
    """Function: a small version of a config by its name."""
    monkeypatch.setenv('MMDOWNSTREAM_DATA', str(data_folder))
    return lambda name: shrunk(Config.fromfile(CONFIGS[0].with_name(f'{name}.py')))


@pytest.mark.parametrize('name', [path.stem for path in CONFIGS])
def test_every_config_trains_and_tests(name, load):
    """With its own depth and number of layers; a sample without objects is among those that are trained on."""
    layers = 12 if '_l12_' in name else 2 if 'mini' in name else 6
    with torch.device('meta'):
        own = MODELS.build(Config.fromfile(CONFIGS[0].with_name(f'{name}.py')).model)
    assert (len(own.bbox_head.decoder_layers), own.bbox_head.num_proposal) == (
        layers, {2: 48, 6: 256, 12: 512}[layers])
    cfg = load(name)
    torch.manual_seed(0)
    np.random.seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    rooms = DATASETS.build(cfg.train_dataloader.dataset)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    batch = pseudo_collate([rooms[0], rooms[1]])
    assert not any(sample.metainfo.get('flip') for sample in batch['data_samples'])  # mmdet3d's flip takes images along
    losses = model.train_step(batch, optimizer)
    assert all(torch.isfinite(torch.as_tensor(value)) for value in losses.values())
    fused = {'loss_tokens', 'replaced_points', 'loss_image_cls', 'loss_image_bbox', 'loss_image_iou'}
    assert fused & set(losses) == (fused if name.startswith('token_fusion') else set())
    assert f's{layers - 1}.center_loss' in losses and f's{layers}.center_loss' not in losses
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    with torch.no_grad():
        samples = model.eval().test_step(pseudo_collate([dataset[0], dataset[1]]))
    metric = METRICS.build(cfg.test_evaluator)
    metric.dataset_meta = dataset.metainfo
    metric.process({}, [sample.to_dict() for sample in samples])
    assert {'mAP_0.25', 'mAP_0.50'} <= set(metric.evaluate(2))


def test_a_real_scene(load, shared, tmp_path):
    """Scene 17 of SUN RGB-D through data set, model and metric; its own boxes as predictions are worth an AP of 1."""
    demo = shared / 'samples/sunrgbd/demo'
    (tmp_path / 'sunrgbd_trainval').mkdir()
    os.symlink(demo, tmp_path / 'points')
    os.symlink(demo, tmp_path / 'sunrgbd_trainval/image')
    os.symlink(demo / 'sunrgbd_000017_infos.pkl', tmp_path / 'sunrgbd_infos_val.pkl')
    cfg = load('token_fusion_groupfree3d_l6_o256_ti_sunrgbd')
    dataset = DATASETS.build({**cfg.test_dataloader.dataset, 'data_root': str(tmp_path)})
    model = MODELS.build(cfg.model)
    model.init_weights()
    with torch.no_grad():
        sample = model.eval().test_step(pseudo_collate([dataset[0]]))[0]
    assert torch.isfinite(sample.pred_instances_3d.bboxes_3d.tensor).all() and len(sample.pred_instances_3d.scores_3d)
    truth = sample.eval_ann_info
    perfect = InstanceData(bboxes_3d=truth['gt_bboxes_3d'], labels_3d=torch.as_tensor(truth['gt_labels_3d']),
                           scores_3d=torch.ones(len(truth['gt_labels_3d'])))
    for prediction in (sample.pred_instances_3d, perfect):
        metric = METRICS.build(cfg.test_evaluator)
        metric.dataset_meta = dataset.metainfo
        metric.process({}, [dict(pred_instances_3d=prediction, eval_ann_info=truth)])
        figures = metric.evaluate(1)
        assert all(0 <= value <= 1 for value in figures.values())
    assert figures['mAP_0.25'] == figures['mAP_0.50'] == 1 and len(truth['gt_labels_3d']) == 2


def test_rates_of_the_official_code(load):
    cfg = load('token_fusion_groupfree3d_l6_o256_ti_sunrgbd')
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    groups = {id(group['params'][0]): group for group in wrapper.optimizer.param_groups}

    def settings(name):
        group = groups[id(model.get_parameter(name))]
        return pytest.approx(group['lr']), pytest.approx(group['weight_decay'])

    assert settings('backbone.SA_modules.0.mlps.0.layer0.conv.weight') == (4e-3, 1e-8)
    assert settings('bbox_head.decoder_key_proj.weight') == settings(
        'bbox_head.decoder_layers.5.norms.0.weight') == (2e-4, 1e-8)
    assert settings('image_branch.cls_token') == settings('exchange.projections.points.0.0.weight') == (5e-5, 1e-4)
    assert settings('exchange.score_nets.points.3.layers.1.weight') == settings(
        'image_head.bbox_embed.0.weight') == (4e-3, 1e-8)


# ---- the model

@pytest.fixture
def parts(load):
    """Function: a model with options of its exchange, and a batch of two rooms with objects."""
    def make(batch=True, **options):
        cfg = load('token_fusion_groupfree3d_mini')
        cfg.model.exchange.update(options.pop('exchange', {}))
        cfg.model.update(options)
        torch.manual_seed(0)
        np.random.seed(0)
        model = MODELS.build(cfg.model)
        rooms = DATASETS.build(cfg.train_dataloader.dataset)
        return model, model.data_preprocessor(pseudo_collate([rooms[1], rooms[2]]), True)
    return make


def predictions(model, data):
    with torch.no_grad():
        return model.eval().detect(data['inputs'], data['data_samples'])


def test_head_equals_that_of_mmdet3d(parts, monkeypatch):
    module = sys.modules[GroupFree3DHead.__module__]
    monkeypatch.setattr(module, 'gather_points', gather_points)
    model, data = parts(fusion_mode='none')
    features = model.eval().extract_feat(data['inputs'])
    found, expected = model.bbox_head(features), GroupFree3DHead.forward(model.bbox_head, features)
    for key, value in found.items():
        if torch.is_tensor(value):
            torch.testing.assert_close(value, expected[key].to(value.dtype), rtol=1e-4, atol=1e-5)
    assert 's1.center' in found


def test_without_scaling_and_threshold_it_is_the_plain_detector(parts):
    fused, data = parts(exchange=dict(threshold=0., scale_by_score=False))
    plain, _ = parts(fusion_mode='none')
    plain.load_state_dict({key: value for key, value in fused.state_dict().items() if key in plain.state_dict()})
    found, _ = predictions(fused, data)
    expected, none = predictions(plain, data)
    assert none is None
    torch.testing.assert_close(found['s1.center'], expected['s1.center'])
    fused.exchange.scale_by_score = True
    assert not torch.allclose(predictions(fused, data)[0]['s1.center'], expected['s1.center'], atol=1e-3)


def test_seeds_outside_of_the_image_are_never_replaced(parts, monkeypatch):
    model, data = parts(exchange=dict(threshold=2.))  # every score is below
    for sample in data['data_samples']:  # the right half of the image is cut away
        sample.set_metainfo(dict(img_shape=(96, 64)))
    data['inputs']['imgs'] = data['inputs']['imgs'][..., :64]
    seen, fuse = [], LayerwiseExchange.to_points

    def record(run, layer, keys):
        fused = fuse(run, layer, keys)
        seen.append((run.places.visible, keys, fused, run.scores['points'][layer]))
        return fused

    monkeypatch.setattr(LayerwiseExchange, 'to_points', record)
    _, run = predictions(model, data)
    for visible, keys, fused, scores in seen:
        assert visible.any() and not visible.all()
        kept = (fused == keys * scores[..., None]).all(-1)
        assert kept[~visible].all() and not kept[visible].any()
    share = run.losses()['replaced_points']
    assert share == pytest.approx(100 * float(seen[0][0].float().mean()))


@pytest.mark.parametrize('detach', [True, False])
def test_gradients_between_the_branches(parts, detach):
    model, data = parts(exchange=dict(threshold=2., detach=detach))
    losses = model.loss(data['inputs'], data['data_samples'])
    # the 3D losses are those without a common prefix
    sum(value for key, value in losses.items() if 'loss' in key and not key.startswith('loss_')).backward()
    gradients = [parameter.grad for parameter in model.image_branch.parameters() if parameter.grad is not None]
    assert any(gradient.any() for gradient in gradients) is not detach
    assert model.exchange.projections['points'][1][0].weight.grad.any()


def test_image_losses_end(parts):
    """Then the image branch runs without gradient."""
    model, data = parts(image_loss_epochs=5)
    MessageHub.get_current_instance().update_info('epoch', 5)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert 'loss_tokens' in losses and not [key for key in losses if key.startswith('loss_image')]
    assert not model.detect(data['inputs'], data['data_samples'])[1].tokens.requires_grad


def test_patches_take_the_mean_of_their_seeds(parts):
    """Both directions; residual positional alignment adds the patch's embedding."""
    model, data = parts(exchange=dict(directions=('points', 'image'), threshold=2.))
    for layer in model.exchange.projections['image']:
        torch.nn.init.zeros_(layer[-1].weight)
        torch.nn.init.constant_(layer[-1].bias, 3.)
    seen = []
    run_blocks = model.image_branch.run
    model.image_branch.run = lambda tokens, *args: seen.append((tokens, args[-1])) or run_blocks(tokens, *args)
    _, run = predictions(model, data)
    tokens, scale = seen[0]
    mean, hit = run.mean_of_seeds(torch.ones(2, run.places.index.shape[1], 1))
    assert 10 < hit.sum() < hit.numel() and mean[hit].eq(1).all() and not mean[~hit].any()
    position = model.image_branch.positions(run.grid)[:, 1:1 + run.num_patches].expand_as(run.patches())
    torch.testing.assert_close(tokens[:, 1:1 + run.num_patches][hit], position[hit] + 3)
    assert scale[:, 0].eq(1).all() and scale[:, 1:1 + run.num_patches][hit].eq(1).all()
    assert scale[:, 1:1 + run.num_patches][~hit].lt(1).all()
    assert {'replaced_points', 'replaced_image'} <= set(run.losses())


def test_a_batch_has_the_results_of_its_samples(parts):
    model, data = parts()
    model.eval()
    inputs, samples = data['inputs'], data['data_samples']

    def boxes(chosen):
        found = model.predict({key: value[chosen] for key, value in inputs.items()}, samples[chosen])
        return [sample.pred_instances_3d.bboxes_3d.tensor.clone() for sample in found]

    together, alone = boxes(slice(0, 2)), [*boxes(slice(0, 1)), *boxes(slice(1, 2))]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert together[0].shape != together[1].shape or not torch.allclose(*together)


def test_empty_boxes_are_removed_if_so_set(parts):
    model, data = parts(fusion_mode='none')
    counts = []
    for least in (0, 6, 10 ** 6):
        model.bbox_head.test_cfg['min_points'] = least
        counts.append(len(model.eval().predict(data['inputs'], data['data_samples'])[0].pred_instances_3d))
    assert counts[0] > counts[1] >= counts[2] == 0


def test_colours_of_pixels_reach_the_seeds(parts):
    model, data = parts(fusion_mode='concat')
    first = predictions(model, data)[0]['s1.center']
    data['inputs']['imgs'] = data['inputs']['imgs'] + 1
    torch.testing.assert_close(predictions(model, data)[0]['s1.center'], first)  # the merging begins as the identity
    model.colours.merge.weight.data[:, -3:] = 1.
    assert not torch.allclose(predictions(model, data)[0]['s1.center'], first, atol=1e-3)


@pytest.mark.parametrize('options, words', [
    (dict(fusion_mode='sum'), 'expected one of none'), (dict(exchange=None), 'needs model.image_branch'),
    (dict(image_branch=dict(depth=5)), 'no multiple')])
def test_models_that_make_no_sense(load, options, words):
    cfg = load('token_fusion_groupfree3d_mini')
    cfg.merge_from_dict(dict(model=options))
    with pytest.raises(ConfigError, match=words):
        MODELS.build(cfg.model)


# ---- data and pictures

def test_a_sample_without_calibration_is_named(load, data_folder, tmp_path):
    cfg = load('token_fusion_groupfree3d_mini').test_dataloader.dataset
    infos = pickle.loads((data_folder / 'sunrgbd/sunrgbd_infos_val.pkl').read_bytes())
    del infos['data_list'][1]['images']['CAM0']['depth2img']
    name = infos['data_list'][1]['lidar_points']['lidar_path']
    (tmp_path / 'infos.pkl').write_bytes(pickle.dumps(infos))
    with pytest.raises(CalibrationError, match=f"{name}: 'images.CAM0.depth2img' is missing.*create_data"):
        DATASETS.build(dict(cfg, ann_file=str(tmp_path / 'infos.pkl')))


def test_pictures(load, parts, tmp_path):
    model, _ = parts()
    dataset = DATASETS.build(load('token_fusion_groupfree3d_mini').test_dataloader.dataset)
    batch = pseudo_collate([dataset[0]])
    hook = ProjectionPictureHook(draw=True, score_thr=0.05, test_out_dir='shown')
    loader = types.SimpleNamespace(dataset=dataset)
    with torch.no_grad():
        samples = model.eval().test_step(batch)
    hook.after_test_iter(types.SimpleNamespace(log_dir=str(tmp_path), test_dataloader=loader), 0, batch, samples)
    [path] = (tmp_path / 'shown').iterdir()
    image = cv2.imread(str(path))
    assert path.stem == '000004' and image.shape == (22 + 480, 3 * 640, 3)
