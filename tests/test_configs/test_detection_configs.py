"""Every detection config: parses, builds its model, data set and optimiser, and trains on one real batch."""

import math

import pytest
import torch
from config_scopes import configs_of
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, METRICS, MODELS, init_default_scope

CONFIGS = configs_of('mmdet')
SCALE = (128, 96)
NAMES = ('disc', 'square', 'triangle', 'star', 'ring')


def small(pipeline):
    """The config's own pipeline with small images, so that a test takes a second."""
    for step in pipeline:
        if step['type'] == 'Resize':
            step['scale'] = SCALE
        elif step['type'] == 'RandomChoiceResize':
            step['scales'] = [SCALE]
        elif step['type'] == 'RandomResize':
            step['scale'] = SCALE
        elif step['type'] == 'RandomCrop':
            step['crop_size'] = SCALE[::-1]
    return pipeline


def first_of(dataset):
    while 'datasets' in dataset or 'dataset' in dataset:
        dataset = dataset['datasets'][0] if 'datasets' in dataset else dataset['dataset']
    return dataset


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def config(request, mini_root, monkeypatch):
    """The config with its data moved to the mini set of the same format."""
    monkeypatch.setenv('MMDOWNSTREAM_DATA', str(mini_root))
    cfg = Config.fromfile(request.param)
    init_default_scope(cfg.default_scope)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        dataset = first_of(loader.dataset)
        voc = 'VOC' in dataset.type
        single = voc and not dataset.ann_file.startswith('VOC')  # one folder instead of a devkit of years
        dataset.data_root = str(mini_root / 'mini' / ('voc' if voc else 'coco') / ('VOC2007' if single else '')) + '/'
        own = dataset.get('metainfo', {}).get('classes', NAMES)  # a config with fewer classes has a head for as many
        dataset.metainfo = dict(classes=NAMES[:len(own)])
        dataset.pipeline = small(dataset.pipeline)
        loader.dataset = dataset
    cfg.model.backbone.init_cfg = None  # no downloads
    if 'teacher' in cfg.model:
        cfg.model.teacher.checkpoint = None  # random weights: nobody trained one here
    for augment in cfg.model.data_preprocessor.get('batch_augments') or []:
        augment['size'] = SCALE[::-1]
    return cfg


def batch_of(loader, count):
    dataset = DATASETS.build(loader.dataset)
    assert len(dataset) > 0
    return pseudo_collate([dataset[i] for i in range(count)])


def test_config(config):
    if 'Adder2d' in str(config.model):  # filters of adder layers are spared when gradients are clipped
        assert config.optim_wrapper.constructor == 'AdderOptimWrapperConstructor'
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    model.train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    losses = model.train_step(batch_of(config.train_dataloader, 2), wrapper)
    assert 'loss' in losses and all(math.isfinite(value.item()) for value in losses.values()), losses
    still = [name for name, p in model.named_parameters()
             if p.dim() == 4 and p.requires_grad and torch.equal(p, before[name])]
    assert not still  # every layer got a gradient
    model.eval()
    results = model.test_step(batch_of(config.val_dataloader, 1))
    assert set(results[0].pred_instances.keys()) >= {'bboxes', 'scores', 'labels'}
    evaluator = dict(config.val_evaluator)
    if 'ann_file' in evaluator:
        evaluator['ann_file'] = config.val_dataloader.dataset.data_root + config.val_dataloader.dataset.ann_file
    METRICS.build(evaluator)
