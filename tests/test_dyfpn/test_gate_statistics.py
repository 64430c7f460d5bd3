"""The statistics hook: log and pictures of a real run. Two processes: test_dyfpn_distributed.py."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from projects.dyfpn import GateStatisticsHook
from projects.runtime.errors import ConfigError

HERE = Path(__file__).parent
LEVELS = (8, 16, 32)


@pytest.fixture
def config(mini_root, monkeypatch, tmp_path):
    monkeypatch.setenv('MMDOWNSTREAM_DATA', str(mini_root))
    cfg = Config.fromfile(HERE / 'dyfpn_tiny.py')
    cfg.work_dir, cfg.experiment_name = str(tmp_path), tmp_path.name
    cfg.visualizer.name = tmp_path.name  # a former run's would be taken, and write into its folder
    return cfg


def scalars(work_dir):
    [path] = work_dir.glob('*/vis_data/scalars.json')
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [r for r in records if 'loss_flops' in r], [r for r in records if 'gates/lateral_gmacs' in r]


def test_a_run_logs_and_draws(config, tmp_path):
    """12 images in 4 steps, then 5 validation images in batches of 2."""
    runner = Runner.from_cfg(config)
    runner.train()
    training, [validation] = scalars(tmp_path)
    assert len(training) == 4
    keys = {'gates/open_cost', *(f'gates/open_s{stride}' for stride in LEVELS)}
    for record in (*training, validation):
        assert keys <= record.keys() and all(0 <= record[key] < 1 + 1e-6 for key in keys)
        parts = [record[f'gates/open_s{stride}'] for stride in LEVELS]
        assert record['gates/open_cost'] == pytest.approx(np.average(parts, weights=(4, 2, 1)), abs=1e-4)
    neck = runner.model.neck
    sizes = neck.level_sizes(800, 1280)
    rates = [validation[f'gates/open_s{stride}'] for stride in LEVELS]
    expected = sum(neck.skip_macs(sizes)) + sum(rate * bank for rate, (_, bank) in zip(
        rates, neck.choice_costs(sizes), strict=True))
    assert validation['gates/lateral_gmacs_800x1280'] == pytest.approx(expected / 1e9, rel=1e-4)
    assert [round(5 * rate) for rate in rates] == pytest.approx([5 * rate for rate in rates], abs=1e-5)
    for name in ('val_choices.png', 'val_images.jpg'):
        [path] = tmp_path.glob(f'*/gates/{name}')
        assert cv2.imread(str(path)).std() > 5


def test_a_test_run_counts_what_is_computed(config, tmp_path):
    """Hooks on the branches see as many positions as the log has multiply-adds."""
    runner = Runner.from_cfg(config)
    neck = runner.model.neck
    torch.manual_seed(0)
    for level in neck.gates.levels:
        level[2].weight.data.normal_(std=100)
        level[2].bias.data.zero_()
    seen = []

    def count(module, args, out):
        seen.append(module.weight[0].numel() * out.numel())

    for lateral in neck.lateral_convs:
        for branch in (*lateral.branches, lateral.skip):
            branch.conv.register_forward_hook(count)
    runner.test()
    [path] = tmp_path.glob('*/*.json')
    logged = json.loads(path.read_text())
    assert logged['gates/lateral_gmacs'] == pytest.approx(sum(seen) / 5 / 1e9, rel=1e-6)


def test_structure_a_and_models_without_gates(config, tmp_path):
    config.model.neck.structure = 'A'
    runner = Runner.from_cfg(config)
    runner.test()
    [path] = tmp_path.glob('*/gates/test_choices.png')
    assert path.stat().st_size > 1000
    hook = GateStatisticsHook()
    runner.model = torch.nn.Linear(1, 1)
    with pytest.raises(ConfigError, match='found 0 DyFPN'):
        hook.before_run(runner)
