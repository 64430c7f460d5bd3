"""Loops over several test sets: what each evaluator sees, joint metrics, the table, and the clipping hook."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.registry import METRICS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from projects.restoration import AdjustableClipHook, MultiTestLoop, MultiValLoop
from projects.restoration.loops import metric_table
from projects.runtime.errors import ConfigError


class Numbers(Dataset):
    """Whole numbers, as data samples."""

    def __init__(self, name, *values):
        self.metainfo, self.values = dict(dataset_type=name), values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return dict(value=self.values[index])


@METRICS.register_module(force=True)
class Total(BaseMetric):
    """Their sum."""

    def process(self, data_batch, data_samples):
        self.results += [sample['value'] for sample in data_samples]

    def compute_metrics(self, results):
        return dict(Total=float(sum(results)), Count=len(results))


class Echo(nn.Module):
    """A model that returns what it gets."""

    def test_step(self, data):
        return [dict(value=int(value)) for value in data['value']]

    val_step = test_step


class Recorder(Hook):
    """Notes the points a loop calls, and the set it is at."""

    def __init__(self):
        self.calls = []

    def __getattribute__(self, name):
        if name.startswith(('before_test', 'after_test')):
            return lambda runner, **kwargs: self.calls.append(
                (name, runner.test_dataloader.dataset.metainfo['dataset_type'], kwargs.get('metrics')))
        return super().__getattribute__(name)


def loader(dataset, batch_size=2):
    return torch.utils.data.DataLoader(dataset, batch_size)


@pytest.fixture
def runner(tmp_path):
    return Runner(Echo(), str(tmp_path), experiment_name=tmp_path.name, default_hooks=dict(
        runtime_info=None, timer=None, logger=None, param_scheduler=None, checkpoint=None, sampler_seed=None))


SETS = [Numbers('A', 1, 2, 3), Numbers('B', 10, 20)]


def metric(prefix):
    return dict(type='Total', prefix=prefix)


def test_each_set_has_its_own_evaluator(runner):
    runner._test_loop = MultiTestLoop(runner, [loader(item) for item in SETS], [metric('A'), [metric('B')]])
    recorder = Recorder()
    runner.register_hook(recorder)
    expected = {'A/Total': 6.0, 'A/Count': 3, 'B/Total': 30.0, 'B/Count': 2}
    for _ in range(2):  # a second run starts from nothing
        recorder.calls.clear()
        assert runner.test_loop.run() == expected
    names = [name for name, *_ in recorder.calls]
    assert names == ['before_test', 'before_test_epoch', *['before_test_iter', 'after_test_iter'] * 3,
                     'after_test_epoch', 'after_test']
    assert [name for _, name, _ in recorder.calls[2:8]] == ['A'] * 4 + ['B'] * 2
    assert recorder.calls[-2][2] == expected


def test_metrics_over_all_sets_together(runner):
    loop = MultiTestLoop(runner, [loader(item) for item in SETS], [metric('A'), metric('B')])
    loop.evaluator.metrics.insert(0, Total(prefix='all'))
    runner._test_loop = loop
    for _ in range(2):
        metrics = loop.run()
        assert metrics['all/Total'] == 36.0 and metrics['all/Count'] == 5


def test_a_single_set_is_a_list_of_one(runner):
    runner._val_loop = MultiValLoop(runner, loader(SETS[1]), metric('B'))
    assert runner.val_loop.run() == {'B/Total': 30.0, 'B/Count': 2}


def test_what_does_not_fit(runner):
    loaders = [loader(item) for item in SETS]
    with pytest.raises(ConfigError, match='test_dataloader lists 2 sets and test_evaluator 1'):
        MultiTestLoop(runner, loaders, metric('A'))
    with pytest.raises(ConfigError, match='val_dataloader lists 2 sets and val_evaluator 3'):
        MultiValLoop(runner, loaders, [metric('A')] * 3)
    runner._test_loop = MultiTestLoop(runner, loaders, [metric('A'), metric('A')])
    with pytest.raises(ConfigError, match='several sets report A/Count, A/Total'):
        runner.test_loop.run()


def test_table():
    text = metric_table({'Set5/PSNR': 33.66, 'Set5/SSIM': 0.93, 'Set14/PSNR': 30.24, 'speed': 7})
    assert text.splitlines() == ['set       PSNR    SSIM  speed', 'Set5   33.6600  0.9300      -',
                                 'Set14  30.2400       -      -', '             -       -      7']


def test_clipping_bound_follows_the_rate():
    wrapper = SimpleNamespace(clip_grad_kwargs=dict(max_norm=1.0), get_lr=lambda: dict(lr=[rate]))
    for rate in (0.1, 0.001):
        AdjustableClipHook(theta=0.04).before_train_iter(SimpleNamespace(optim_wrapper=wrapper), 0)
        assert wrapper.clip_grad_kwargs['max_norm'] == pytest.approx(0.04 / rate)
    wrapper.clip_grad_kwargs = None
    with pytest.raises(ConfigError, match='optim_wrapper.clip_grad'):
        AdjustableClipHook(theta=0.04).before_train_iter(SimpleNamespace(optim_wrapper=wrapper), 0)
