"""The hook that counts epochs for the noise, in both training loops, and its report."""

import logging

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner

from projects.ghost_sr import GhostConv2d, GhostShiftEpochHook
from projects.runtime.errors import ConfigError


class Model(BaseModel):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.seen = layer, []

    def forward(self, inputs, mode='tensor'):
        self.seen.append(getattr(self.layer, 'epoch', None))
        return dict(loss=self.layer(torch.stack(inputs)).square().mean())


def run(tmp_path, loop, hook, layer=None, resume=None):
    model = Model(layer or GhostConv2d(1, 2, 3))
    data = dict(dataset=[dict(inputs=torch.rand(1, 5, 5))] * 3, batch_size=1,
                sampler=dict(type='DefaultSampler' if loop.get('by_epoch') else 'InfiniteSampler', shuffle=False))
    runner = Runner(model, str(tmp_path), data, train_cfg=loop, optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
                    custom_hooks=[hook], default_scope='mmengine', experiment_name=tmp_path.name, load_from=resume,
                    resume=bool(resume), default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=4,
                                                                            by_epoch=False)))
    runner.train()
    return runner


def test_epochs_of_a_loop_over_epochs(tmp_path):
    runner = run(tmp_path, dict(by_epoch=True, max_epochs=2), GhostShiftEpochHook())
    assert runner.model.seen == [1, 1, 1, 2, 2, 2]


def test_epochs_of_a_loop_over_iterations_and_resume(tmp_path):
    loop = dict(by_epoch=False, max_iters=7)
    runner = run(tmp_path / 'first', loop, GhostShiftEpochHook(epoch_length=2))
    assert runner.model.seen == [1, 1, 2, 2, 3, 3, 4]
    runner = run(tmp_path / 'second', loop, GhostShiftEpochHook(2), resume=str(tmp_path / 'first' / 'iter_4.pth'))
    assert runner.model.seen == [3, 3, 4]


def test_a_loop_over_iterations_needs_a_length(tmp_path):
    with pytest.raises(ConfigError, match='GhostShiftEpochHook.epoch_length is not set'):
        run(tmp_path, dict(by_epoch=False, max_iters=2), GhostShiftEpochHook())


def test_a_model_without_ghosts(tmp_path):
    with pytest.raises(ConfigError, match='found no GhostConv2d'):
        run(tmp_path, dict(by_epoch=True, max_epochs=1), GhostShiftEpochHook(1), torch.nn.Conv2d(1, 1, 1))


def test_report_of_directions(caplog):
    class Plain:
        model = torch.nn.ModuleList([GhostConv2d(1, 2, 3, direction=d) for d in ((0, 1), (0, 1), (-1, 0))])
        logger = logging.getLogger('ghost')
        train_loop = type('Loop', (), dict(max_epochs=1))

    hook = GhostShiftEpochHook(epoch_length=1)
    hook.before_train(Plain)
    Plain.model[0].set_direction((1, 1))
    with caplog.at_level('INFO', 'ghost'):
        hook.before_val(Plain)
    assert '(-1, +0) x1, (+0, +1) x1, (+1, +1) x1; 1 of 3 layers changed' in caplog.text
