"""Every segmentation config: a narrow twin of its model trains and tests on files laid out as it says."""

import copy
import math

import pytest
import torch
from config_scopes import configs_of
from mmengine.config import Config
from mmengine.dataset import default_collate, pseudo_collate
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmseg.registry import DATASETS, HOOKS, LOOPS, METRICS, MODELS

from projects.seg_pruning import Budget, ChannelGraph, Floors, prune_to_budget, save_result, weight_importance

CONFIGS = [path for path in configs_of('mmseg') if not path.stem.startswith('token_fusion_')]
CROP = (48, 64)


def narrowed(model):
    """The model's config with an eighth of the width, and nothing to download."""
    model['pretrained'] = None
    model['data_preprocessor']['size'] = CROP
    expansion = 4 if model['backbone']['depth'] >= 50 else 1
    model['backbone'].update(base_channels=8, stem_channels=8)
    model['decode_head'].update(in_channels=64 * expansion, channels=16)
    if model.get('auxiliary_head'):
        model['auxiliary_head'].update(in_channels=32 * expansion, channels=8)


def small(pipeline):
    for step in pipeline:
        if step['type'] in ('Resize', 'RandomResize'):
            step['scale'] = (96, 72) if step['scale'] != (224, 224) else (32, 32)
        elif step['type'] == 'RandomCrop':
            step['crop_size'] = CROP


def give_structure(cfg, folder):
    """Prune the dense twin, as the search before this config would."""
    dense = copy.deepcopy(cfg.model)
    dense.pop('structure')
    dense['type'] = 'EncoderDecoder'
    model = revert_sync_batchnorm(MODELS.build(dense))
    graph = ChannelGraph(model, CROP)
    budget = Budget(0.6, floors=Floors(2, 0.1, 2))
    result = prune_to_budget(model, graph, weight_importance('random', model, graph), budget)
    cfg.model.structure = str(save_result(result, folder)['structure'])


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def config(request, drawn, tmp_path, monkeypatch):
    monkeypatch.setenv('MMDOWNSTREAM_DATA', str(tmp_path / 'data'))
    cfg = Config.fromfile(request.param)
    drawn.fill_config(cfg, count=2)
    narrowed(cfg.model.get('architecture', cfg.model))
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        for dataset in loader.dataset.get('datasets', [loader.dataset]):
            small(dataset.pipeline)
    if cfg.model.type == 'MultiTaskPruning':
        assert cfg.load_from.startswith('work_dirs/') and cfg.train_cfg.type in LOOPS
        cfg.model.size = CROP
        cfg.model.classifier.pop('init_cfg', None)
        small(cfg.train_cfg.cls_dataloader.dataset.pipeline)
        assert [HOOKS.build(hook) for hook in cfg.custom_hooks]
    if cfg.model.type == 'PrunedSegmentor':
        assert cfg.model.structure == f'work_dirs/{request.param.stem}/pruned.json'.replace('_finetune', '').replace(
            '_deploy', '')
        give_structure(cfg, tmp_path / 'pruned')
    return cfg


def test_config_trains_and_tests(config):
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    model = revert_sync_batchnorm(model)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    data = pseudo_collate([dataset[0], dataset[1]])
    if config.model.type == 'MultiTaskPruning':
        cls = DATASETS.build(config.train_cfg.cls_dataloader.dataset)
        data = dict(seg=data, cls=default_collate([cls[0], cls[1]]))
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    model.train()
    losses = model.train_step(data, wrapper)
    assert all(math.isfinite(value.item()) for value in losses.values()), losses
    still = [name for name, value in model.named_parameters() if value.dim() == 4 and torch.equal(value, before[name])]
    assert not still  # every layer got a gradient
    model.eval()
    test = DATASETS.build(config.test_dataloader.dataset)
    [result] = model.test_step(pseudo_collate([test[0]]))
    assert result.pred_sem_seg.data.shape == result.gt_sem_seg.data.shape == (1, 72, 96)
    metric = METRICS.build(config.test_evaluator)
    metric.dataset_meta = test.metainfo
    metric.process({}, [result.to_dict()])
    assert 'mIoU' in metric.evaluate(1)
