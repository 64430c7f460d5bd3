"""The converter of the released checkpoint, and the benchmark's rows."""

import json
import re
import sys

import pytest
import torch
from mmdet.models.necks import FPN

from projects.dyfpn import DyFPN, InceptionFPN
from projects.dyfpn.released_checkpoints import convert_released
from projects.runtime.errors import CheckpointError

CHANNELS = [4, 8, 12, 16]


def released(neck):
    """The state of a neck under the names of the official code, and some of the rest of the detector."""
    state = {'backbone.conv1.weight': torch.zeros(1), 'roi_head.bbox_head.fc_cls.bias': torch.ones(81)}
    for name, value in neck.state_dict().items():
        name = re.sub(r'lateral_convs\.(\d)\.branches\.(\d)',
                      lambda m: f'lateral_convs.{7 * int(m[1]) + int(m[2])}', name)
        name = re.sub(r'lateral_convs\.(\d)\.skip', r'skip_lateral_convs.\1', name)
        name = re.sub(r'gates\.levels\.(\d)\.([02])', lambda m: f'gate_{m[1]}.fc{1 + int(m[2]) // 2}', name)
        state[f'neck.{name}'] = value
    return state


def test_released_names_become_ours(load_tool, monkeypatch, tmp_path, capsys):
    neck = DyFPN(CHANNELS, 8, 5)
    state = released(neck)
    assert {'neck.lateral_convs.27.conv.weight', 'neck.skip_lateral_convs.3.conv.bias', 'neck.gate_3.fc2.bias',
            'neck.fpn_convs.0.conv.weight'} <= state.keys() and len(state) == 2 + 2 * (28 + 4 + 4 + 8)
    torch.save(dict(meta=dict(epoch=12), state_dict=state), tmp_path / 'released.pth')
    tool = load_tool('model_converters/dyfpn_to_mmdet.py')
    monkeypatch.setattr(sys, 'argv', ['tool', str(tmp_path / 'released.pth'), str(tmp_path / 'ours.pth')])
    tool.main()
    assert '90 entries' in capsys.readouterr().out
    converted = torch.load(tmp_path / 'ours.pth')['state_dict']
    own = {name.removeprefix('neck.'): value for name, value in converted.items() if name.startswith('neck.')}
    assert own.keys() == neck.state_dict().keys()
    assert all(torch.equal(value, neck.state_dict()[name]) for name, value in own.items())
    assert {'backbone.conv1.weight', 'roi_head.bbox_head.fc_cls.bias'} < converted.keys()


def test_other_checkpoints_are_refused(load_tool, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match='found 4 neck.lateral_convs, 0 neck.skip_lateral_convs'):
        convert_released({f'neck.{name}': value for name, value in FPN(CHANNELS, 8, 5).state_dict().items()})
    torch.save(dict(state_dict={'backbone.conv1.weight': torch.zeros(1)}), tmp_path / 'other.pth')
    tool = load_tool('model_converters/dyfpn_to_mmdet.py')
    monkeypatch.setattr(sys, 'argv', ['tool', str(tmp_path / 'other.pth'), str(tmp_path / 'ours.pth')])
    with pytest.raises(CheckpointError, match=r'other\.pth: found 0'):
        tool.main()
    assert not (tmp_path / 'ours.pth').exists()


@pytest.fixture
def benchmark(load_tool, monkeypatch):
    monkeypatch.setattr(torch, 'set_num_threads', lambda threads: None)  # other tests keep theirs
    return load_tool('analysis_tools/benchmark_dyfpn.py')


def test_benchmark_writes_every_row(benchmark, tmp_path, capsys):
    benchmark.main(['--size', '60', '64', '--channels', '4', '8', '16', '32', '--width', '8', '--repeats', '1',
                    '--json', str(tmp_path / 'figures.json')])
    figures = json.loads((tmp_path / 'figures.json').read_text())
    shares = {row['neck']: row['open_cost'] for row in figures['rows']}
    assert figures['size'] == [64, 64] and len(shares) == 10
    assert shares['DyFPN, all open'] == 1 and shares['DyFPN, all closed'] == 0
    assert shares['DyFPN, C2 open'] == pytest.approx(8 / 15)  # half of the levels' cost, and a little more
    assert shares['DyFPN, C3, C4, C5 open'] == pytest.approx(7 / 15)
    assert 'all closed: ' in capsys.readouterr().out


@torch.no_grad()
def test_benchmarked_necks_compute_what_they_are_called(benchmark):
    variants = benchmark.necks(CHANNELS, 8)
    maps = [torch.randn(1, c, s, s) for c, s in zip(CHANNELS, (16, 8, 4, 2), strict=True)]

    def outputs(name):
        neck, levels = variants[name]
        return (neck if levels is None else benchmark.set_open(neck, levels))(maps)

    def same(first, second):
        return all(torch.allclose(x, y, atol=1e-5) for x, y in zip(first, second, strict=True))

    assert same(outputs('FPN'), outputs('DyFPN, all closed'))
    assert same(outputs('inception FPN'), outputs('inception FPN, merged'))
    assert isinstance(variants['inception FPN'][0], InceptionFPN)
    for name in ('all open', 'C2 open', 'C3, C4, C5 open'):
        assert same(outputs(f'DyFPN, {name}'), outputs(f'DyFPN, {name}, merged'))
        assert not same(outputs(f'DyFPN, {name}'), outputs('FPN'))
