"""The benchmark measures the layers that real networks have, every operator on each, and writes what it prints."""

import json

import pytest
import torch


@pytest.fixture
def tool(load_tool):
    return load_tool('analysis_tools/benchmark_adder.py')


def test_shapes_are_those_of_the_networks(tool):
    """AdderResNet-50 has 52 adder layers of 22 kinds, and 3.9 G positions of the inner loop at 224 (Table 3 of
    1912.13200 counts 7.7 G additions, two each; stem and classifier multiply)."""
    sets = tool.shape_sets()
    shapes = sets['resnet50-224']()
    assert len(shapes) == 22 and sum(shape.count for shape in shapes) == 52
    assert sum(shape.count * shape.macs for shape in shapes) == pytest.approx(3.97e9, rel=0.01)
    large = sets['resnet50-800x1333']()
    assert len(large) == 22 and {(s.channels, s.filters, s.window, s.stride) for s in large} == {
        (s.channels, s.filters, s.window, s.stride) for s in shapes}
    assert {shape.filters for shape in sets['fpn-800x1333']()} == {256}


def test_prints_writes_and_draws_every_row(tool, monkeypatch, tmp_path, capsys):
    shape = type(tool.shape_sets()['published']()[0])
    small = [shape(1, 4, 9, 9, 6, 3, 2), shape(2, 3, 5, 5, 4, 1, 1)]
    monkeypatch.setattr(tool, 'shape_sets', lambda: {'small': lambda: small})
    monkeypatch.setattr(torch, 'set_num_threads', lambda threads: None)  # other tests keep theirs
    file, picture = tmp_path / 'figures.json', tmp_path / 'new/bars.png'
    tool.main(['--repeats', '3', '--slow-repeats', '1', '--json', str(file), '--png', str(picture)])
    rows = json.loads(file.read_text())['rows']
    expected = set(tool.operators('cpu')) | ({'int8'} if tool.native.available() else set())
    assert {(row['layer'], row['operator']) for row in rows} == {
        (str(layer), operator) for layer in small for operator in expected}
    assert all(row['forward_ms'] > 0 and row['forward_ratio'] > 0 for row in rows)
    assert all((row['both_ms'] is None) == (row['operator'] == 'int8') for row in rows)
    assert all(row['forward_ratio'] == row['both_ratio'] == 1 for row in rows if row['operator'] == 'conv2d')
    printed = capsys.readouterr().out
    assert all(f'small: {layer}' in printed for layer in small) and 'Geometric means' in printed
    assert picture.read_bytes().startswith(b'\x89PNG')


def test_operators_agree(tool):
    """What is timed computes one thing."""
    torch.manual_seed(0)
    x, w = torch.randn(1, 5, 8, 9), torch.randn(4, 5, 3, 3)
    found = tool.operators('cpu')
    expected = found['reference'](x, w, 2, 1)
    for name in found.keys() - {tool.BASE}:
        torch.testing.assert_close(found[name](x, w, 2, 1), expected, rtol=1e-4, atol=1e-4)
