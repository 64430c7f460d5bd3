"""The steps that turn options into changes of a config."""

import pytest
import torch
from mmengine.config import Config

from projects.runtime import preparation
from projects.runtime.errors import CheckpointError, ConfigError


@pytest.fixture
def cfg():
    return Config(dict(
        default_scope='mmdet', model=dict(type='M', backbone=dict(type='B')),
        test_dataloader=dict(dataset=dict(type='RepeatDataset', dataset=dict(
            type='D', pipeline=[dict(type='Load'), dict(type='PackDetInputs')]))),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))))


@pytest.mark.parametrize('given, in_config, expected', [
    ('cli', 'cfg', 'cli'), (None, 'cfg', 'cfg'), (None, None, 'work_dirs/name')])
def test_work_dir_order(cfg, given, in_config, expected):
    cfg.work_dir = in_config
    preparation.set_work_dir(cfg, given, 'configs/name.py')
    assert cfg.work_dir == expected


def test_amp_without_gpu_is_refused(cfg, monkeypatch):
    monkeypatch.setattr(preparation, 'get_device', lambda: 'cpu')
    with pytest.raises(ConfigError, match='--amp: mixed precision needs a GPU'):
        preparation.enable_amp(cfg)


def test_amp_changes_the_wrapper_but_not_a_special_one(cfg, monkeypatch):
    monkeypatch.setattr(preparation, 'get_device', lambda: 'cuda')
    preparation.enable_amp(cfg)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.loss_scale == 'dynamic'
    cfg.optim_wrapper.type = 'ApexOptimWrapper'
    with pytest.raises(ConfigError, match='ApexOptimWrapper'):
        preparation.enable_amp(cfg)


def test_lr_scaling_needs_the_base_batch_size(cfg):
    with pytest.raises(ConfigError, match='auto_scale_lr'):
        preparation.enable_lr_scaling(cfg)
    cfg.auto_scale_lr = dict(base_batch_size=16)
    preparation.enable_lr_scaling(cfg)
    assert cfg.auto_scale_lr.enable


@pytest.mark.parametrize('hooks', [None, dict(), dict(checkpoint=dict(type='CheckpointHook',
                                                                      interval=2))])
def test_plain_checkpoint_hooks_become_atomic(cfg, hooks):
    if hooks is not None:
        cfg.default_hooks = hooks
    preparation.use_atomic_saving(cfg)
    assert cfg.default_hooks.checkpoint.type == 'AtomicCheckpointHook'
    assert cfg.default_hooks.checkpoint.interval == (hooks or {}).get(
        'checkpoint', {}).get('interval', 1)
    assert cfg.custom_imports.imports == ['projects.runtime']


def test_other_checkpoint_hooks_stay(cfg):
    cfg.default_hooks = dict(checkpoint=dict(type='MyCheckpointHook'))
    preparation.use_atomic_saving(cfg)
    assert cfg.default_hooks.checkpoint == dict(type='MyCheckpointHook')


def test_match_check_is_added_once(cfg):
    cfg.custom_hooks = [dict(type='EMAHook')]
    for _ in range(2):
        preparation.add_match_check(cfg, strict=True)
    assert cfg.custom_hooks == [dict(type='EMAHook'),
                                dict(type='CheckpointMatchHook', strict=True)]


def test_initial_weights_are_looked_at_where_they_are_local(cfg, tmp_path):
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='torchvision://resnet50')
    preparation.check_initial_weights(cfg)
    cfg.model.backbone.init_cfg.checkpoint = str(tmp_path / 'none.pth')
    with pytest.raises(CheckpointError, match='none.pth'):
        preparation.check_initial_weights(cfg)
    torch.save(dict(w=torch.ones(1)), tmp_path / 'none.pth')
    preparation.check_initial_weights(cfg)


def test_default_tta_mirrors_the_innermost_test_set(cfg):
    preparation.enable_tta(cfg)
    assert cfg.model.type == 'DetTTAModel' and cfg.model.module.type == 'M'
    pipeline = cfg.test_dataloader.dataset.dataset.pipeline
    assert [step.type for step in pipeline] == ['Load', 'TestTimeAug']
    assert [flip.prob for flip in pipeline[-1].transforms[0]] == [1.0, 0.0]


def test_default_tta_of_segmentation_scales_what_the_pipeline_does(cfg):
    cfg.default_scope = 'mmseg'
    test_set = cfg.test_dataloader.dataset.dataset
    test_set.pipeline = [dict(type='Load'), dict(type='Resize', scale=(240, 180), keep_ratio=True),
                         dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    without = Config(dict(**cfg._cfg_dict))
    preparation.enable_tta(cfg)
    assert (cfg.model.type, cfg.model.module.type) == ('SegTTAModel', 'M')
    load, tta = test_set.pipeline
    sizes, flips, *rest = tta.transforms
    assert load.type == 'Load' and [step.scale for step in sizes][:3] == [(120, 90), (180, 135), (240, 180)]
    assert len(sizes) == 6 and [step.prob for step in flips] == [0.0, 1.0]
    assert [[step.type for step in steps] for steps in rest] == [['LoadAnnotations'], ['PackSegInputs']]
    without.model = dict(type='M')
    without.pop('tta_model', None), without.pop('tta_pipeline', None)
    without.test_dataloader.dataset.dataset.pipeline = [dict(type='Load'), dict(type='PackSegInputs')]
    preparation.enable_tta(without)
    sizes = without.test_dataloader.dataset.dataset.pipeline[1].transforms[0]
    assert [step.scale_factor for step in sizes] == list(preparation.TTA_RATIOS)


def test_tta_has_no_default_outside_detection_and_segmentation(cfg):
    cfg.default_scope = 'mmengine'
    with pytest.raises(ConfigError, match='tta_model and tta_pipeline'):
        preparation.enable_tta(cfg)


def test_drawing_needs_the_visualisation_hook(cfg):
    with pytest.raises(ConfigError, match='default_hooks.visualization'):
        preparation.enable_drawing(cfg, show=False, show_dir='x', wait_time=2)
    cfg.default_hooks = dict(visualization=dict(type='DetVisualizationHook'))
    preparation.enable_drawing(cfg, show=True, show_dir='x', wait_time=3)
    assert cfg.default_hooks.visualization == dict(
        type='DetVisualizationHook', draw=True, show=True, wait_time=3, test_out_dir='x')


def test_drawing_of_segmentation_goes_to_a_folder(cfg):
    cfg.default_hooks = dict(visualization=dict(type='SegVisualizationHook'))
    preparation.enable_drawing(cfg, show=False, show_dir='x', wait_time=2)
    assert cfg.default_hooks.visualization == dict(type='SegPictureHook', draw=True, test_out_dir='x')
    assert cfg.custom_imports.imports == ['projects.seg_data']


def test_resume_without_a_checkpoint_starts_from_load_from(cfg, tmp_path):
    cfg.work_dir, cfg.load_from = str(tmp_path), 'dense.pth'
    preparation.choose_resume(cfg, 'auto')
    assert (cfg.resume, cfg.load_from) == (False, 'dense.pth')
