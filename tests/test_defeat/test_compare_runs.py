"""The comparison of variants over seeds: what it trains, skips and writes."""

import json

import pytest

from projects.runtime.errors import ConfigError, UserError

TASK = '''
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS


@DATASETS.register_module()
class Points(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return dict(x=torch.tensor([float(index)]))


@MODELS.register_module()
class Weight(BaseModel):
    def __init__(self, start=0.):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.rand(1) + start)

    def forward(self, x, mode='tensor'):
        return dict(loss=(self.weight * x).mean()) if mode == 'loss' else [self.weight.detach()] * len(x)


@METRICS.register_module()
class Value(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.extend(float(item) for item in data_samples)

    def compute_metrics(self, results):
        return {'toy/value': results[0]}
'''
CONFIG = '''
custom_imports = dict(imports=['projects.runtime', 'compare_task'], allow_failed_imports=False)
default_scope = 'mmengine'
model = dict(type='Weight')
train_dataloader = dict(batch_size=4, num_workers=0, dataset=dict(type='Points'),
                        sampler=dict(type='DefaultSampler', shuffle=True), collate_fn=dict(type='default_collate'))
val_dataloader = train_dataloader
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = dict()
val_evaluator = dict(type='Value')
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.0))
'''


@pytest.fixture
def compare(load_tool):
    return load_tool('analysis_tools/compare_runs.py')


def test_variants(compare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a.py').touch()
    named = compare.Variant.parse('object only=a.py model.defeat.neck.alpha_bg=0 "x=[1, 2]"')
    assert (named.name, named.config, named.folder) == ('object only', 'a.py', 'object_only')
    assert named.options == ['model.defeat.neck.alpha_bg=0', 'x=[1, 2]']
    plain = compare.Variant.parse('a.py k=v')
    assert (plain.name, plain.config, plain.options) == ('a', 'a.py', ['k=v'])
    other = compare.Variant.parse('a.py model.teacher.config=b.py')
    assert (other.name, other.config, other.options) == ('a', 'a.py', ['model.teacher.config=b.py'])
    for wrong in ('b.py', 'a.py alpha', 'name=a'):
        with pytest.raises(ConfigError):
            compare.Variant.parse(wrong)
    with pytest.raises(ConfigError, match='two variants of one name'):
        compare.plan(compare.parse_args(['a.py', 'a.py k=v']))


def test_table(compare):
    """Mean and sample standard deviation: of 1, 2, 4 they are 7/3 and 1.5275."""
    runs = [dict(settings=dict(seed=seed, config='a.py', options=[]), metrics=dict(ap=value), seconds=1)
            for seed, value in zip((0, 1, 2), (1., 2., 4.), strict=True)]
    rows = compare.summary(dict(a=runs), 'ap')
    assert compare.table(rows, 'ap', [0, 1, 2]).splitlines()[-1] == (
        '| a | 2.3333 | 1.5275 | 1.0000 | 2.0000 | 4.0000 |')


def test_finished_runs_are_kept(compare, tmp_path, monkeypatch, root, capsys):
    """One run of each of two variants, then again with a second seed for which alone something is trained."""
    (tmp_path / 'compare_task.py').write_text(TASK)
    (tmp_path / 'toy.py').write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', f'{root}:{tmp_path}')
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    compare.main(['low=toy.py', '--seeds', '0', '--out', 'out'])
    first = (tmp_path / 'out/low/seed0/compare_run.json').read_bytes()
    capsys.readouterr()
    compare.main(['low=toy.py', 'high=toy.py model.start=5', '--seeds', '0', '--out', 'out'])
    printed = capsys.readouterr().out
    assert printed.count(': training in') == 1 and '[2/2] high, seed 0: training in out/high/seed0/' in printed
    assert (tmp_path / 'out/low/seed0/compare_run.json').read_bytes() == first
    content = json.loads((tmp_path / 'out/table.json').read_text())
    low, high = content['variants']
    assert content['metric'] == 'toy/value' and 0 < low['mean'] < 1
    assert high['mean'] == pytest.approx(low['mean'] + 5)  # the same seed draws the same weight
    assert f'| high | {high["mean"]:.4f} | one run |' in (tmp_path / 'out/table.md').read_text()
    with pytest.raises(ConfigError, match='now asked for'):
        compare.main(['low=toy.py model.start=1', '--seeds', '0', '--out', 'out'])
    with pytest.raises(UserError, match=r'(?s)bad, seed 0: training ended with status 1.*no argument'):
        compare.main(['bad=toy.py model.strat=1', '--seeds', '0', '--out', 'out'])
    unfinished = tmp_path / 'out/low/seed0'
    (unfinished / 'compare_run.json').write_text(json.dumps(dict(settings=json.loads(first)['settings'])))
    with pytest.raises(ConfigError, match='now asked for'):  # it would be resumed with another rate
        compare.main(['low=toy.py optim_wrapper.optimizer.lr=1', '--seeds', '0', '--out', 'out'])
    (tmp_path / 'toy.py').write_text(CONFIG.replace('max_epochs=1', 'max_epochs=2'))
    with pytest.raises(ConfigError, match='was edited since'):
        compare.main(['low=toy.py', '--seeds', '0', '--out', 'out'])
