"""Every restoration config: its networks build at full size, and a narrow twin trains and tests on files laid out as it
says."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from config_scopes import configs_of
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, LOOPS, MODELS, init_default_scope

from projects.runtime.dataset_configs import split_datasets

CONFIGS = [path for path in configs_of('mmengine') if not path.stem.startswith('token_fusion_')]
NARROW = dict(  # by the end of the network's name, so that an adder or ghost twin is as narrow
    EDSR=dict(mid_channels=16, num_blocks=2), VDSR=dict(mid_channels=16, num_layers=4), CARN=dict(mid_channels=16),
    RDN=dict(mid_channels=16, num_blocks=2, num_layers=2, channel_growth=16), IMDN=dict(num_blocks=2),
    IPT=dict(n_feats=16, num_layers=1), Bicubic={})


def populate(dataset, size):
    """Write two images into each folder that a data set reads; the truth has `size` x `size` pixels."""
    y, x = np.mgrid[:size, :size]
    truth = np.dstack([x, y, (x + y) // 2]).astype(np.uint8)
    for kind, folder in dataset.data_prefix.items():
        side = size // (dataset.get('scale', 1) if kind == 'img' else 1)
        template = dataset.get('filename_tmpl', {}).get(kind, '{}')
        for name in ('0001', '0002'):
            path = Path(dataset.data_root, folder, template.format(name) + '.png')
            path.parent.mkdir(parents=True, exist_ok=True)
            assert path.exists() or cv2.imwrite(str(path), truth[:side, :side])


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def config(request, tmp_path, monkeypatch):
    """The config, with small images in the places that it reads."""
    monkeypatch.setenv('MMDOWNSTREAM_DATA', str(tmp_path))
    cfg = Config.fromfile(request.param)
    init_default_scope(cfg.default_scope)
    # the largest patches are 64 pixels wide in the input, and 192 in the truth; IPT tests in windows of 48
    for splits, side, least in ((('train',), 64, 192), (('val', 'test'), 50, 50)):
        entries = split_datasets(cfg, splits)
        size = max(least, side * max(entry.cfg.get('scale', 1) for entry in entries))
        for entry in entries:
            assert entry.root.startswith(str(tmp_path))
            populate(entry.cfg, size)
    return cfg


def narrowed(model):
    """The model with a small network; patches of its training stay what they are."""
    for name, sizes in NARROW.items():
        if model.generator.type.endswith(name):
            model.generator.update(sizes)
            return model
    raise KeyError(f'NARROW has no entry for {model.generator.type}')


def test_training_step(config):
    if config.model.generator.type == 'Bicubic':
        pytest.skip('it has no weights')
    with torch.device('meta'):
        MODELS.build(config.model)  # at full size, without memory
    torch.manual_seed(0)
    model = MODELS.build(narrowed(config.model))
    model.init_weights()
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    model.train()
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    dataset = DATASETS.build(config.train_dataloader.dataset)
    batch = model.data_preprocessor(pseudo_collate([dataset[0], dataset[1]]), True)
    loss, _ = model.parse_losses(model(**batch, mode='loss'))
    assert torch.isfinite(loss)
    loss.backward()
    # not the parts for other scales and tasks, nor layers before a norm whose weight begins with 0
    used = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    wrapper.step()
    moved = {name for name, p in model.named_parameters() if name in before and not torch.equal(p, before[name])}
    assert moved and used == moved


def test_test_sets(config):
    """Each set can be read and restored, and its evaluator reports under names of its own."""
    model = MODELS.build(narrowed(config.model)).eval()
    loaders, evaluators = config.test_dataloader, config.test_evaluator
    assert config.test_cfg.type in LOOPS and len(loaders) == len(evaluators) > 0
    reported = []
    for loader, evaluator in zip(loaders, evaluators, strict=True):
        dataset = DATASETS.build(loader.dataset)
        sample = dataset[0]
        evaluator = Evaluator(evaluator)
        if not reported:  # restoring the first set is enough
            [restored] = model.test_step(pseudo_collate([sample]))
            assert restored.pred_img.shape == restored.gt_img.shape
        else:
            restored = sample['data_samples']
            restored.pred_img = restored.gt_img
        evaluator.process([restored])
        reported += evaluator.evaluate(1)
    assert len(set(reported)) == len(reported)
    best = config.default_hooks.checkpoint.save_best
    assert best is None or best in reported and config.default_hooks.checkpoint.rule == 'greater'
