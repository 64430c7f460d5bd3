"""The benchmark runs every operator on every shape and writes what it prints."""

import json

import torch


def test_prints_and_writes_every_row(load_tool, monkeypatch, tmp_path, capsys):
    tool = load_tool('analysis_tools/benchmark_adder.py')
    monkeypatch.setattr(tool, 'SHAPES', {'small': (1, 4, 9, 9, 6, 3, 2), 'pointwise': (2, 3, 5, 5, 4, 1, 1)})
    monkeypatch.setattr(torch, 'set_num_threads', lambda threads: None)  # other tests keep theirs
    file = tmp_path / 'figures.json'
    tool.main(['--repeats', '3', '--seconds', '0', '--json', str(file)])
    rows = json.loads(file.read_text())['rows']
    assert {(row['layer'], row['operator']) for row in rows} == {
        (layer, operator) for layer in tool.SHAPES for operator in tool.operators()}
    assert all(row['forward_ms'] > 0 and row['both_ms'] > 0 for row in rows)
    printed = capsys.readouterr().out
    assert all(printed.count(layer) == len(tool.operators()) for layer in tool.SHAPES)
