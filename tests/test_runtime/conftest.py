"""A toy regression task, for tests that need a real mmengine runner and nothing slower."""

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset


class Line(Dataset):
    """x and 2 x for x in 0..7."""

    metainfo = dict(classes=('a', 'b'))

    def __len__(self):
        return 8

    def __getitem__(self, index):
        x = torch.tensor([float(index)])
        return dict(x=x, y=2 * x)


class LineModel(BaseModel):
    """A two-layer network, with batch normalisation for its buffers."""

    def __init__(self, width=4):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, width), nn.BatchNorm1d(width), nn.Linear(width, 1))

    def forward(self, x, y, mode='tensor'):
        predicted = self.layers(x)
        if mode == 'loss':
            return dict(loss=((predicted - y) ** 2).mean())
        return list(predicted) if mode == 'predict' else predicted


class Rising(BaseMetric):
    """A metric that grows with every evaluation, so that each one is the best."""

    value = 0.0

    def process(self, data_batch, data_samples):
        self.results.extend(0 for _ in data_samples)

    def compute_metrics(self, results):
        Rising.value += 1.0
        return dict(score=Rising.value)


def loader(shuffle):
    return dict(batch_size=4, num_workers=0, dataset=Line(),
                collate_fn=dict(type='default_collate'),
                sampler=dict(type='DefaultSampler', shuffle=shuffle))


@pytest.fixture
def toy_runner(tmp_path):
    """Build a runner of the toy task in `tmp_path/run`, with other arguments of Runner if given."""
    def build(**changes):
        width = changes.pop('width', 4)
        name = f'toy{build.count}'
        build.count += 1
        settings = dict(
            model=dict(type=LineModel, width=width), work_dir=str(tmp_path / 'run'),
            train_dataloader=loader(True), val_dataloader=loader(False),
            train_cfg=dict(by_epoch=True, max_epochs=3), val_cfg=dict(),
            val_evaluator=dict(type=Rising), test_dataloader=loader(False), test_cfg=dict(),
            test_evaluator=dict(type=Rising),
            optim_wrapper=dict(optimizer=dict(type='Adam', lr=0.01)),
            param_scheduler=dict(type='LinearLR', start_factor=0.5, by_epoch=False, end=4),
            default_hooks=dict(checkpoint=dict(
                type='AtomicCheckpointHook', interval=1, max_keep_ckpts=1, save_best='score',
                rule='greater')),
            randomness=dict(seed=0), experiment_name=f'{tmp_path.name}-{name}')
        return Runner(**{**settings, **changes})
    build.count = 0
    return build
