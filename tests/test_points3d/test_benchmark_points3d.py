"""The benchmark measures what it names, and writes what it prints."""

import json

import pytest
import torch

from projects.points3d import SparseTensor
from projects.points3d.rulebook import submanifold


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('analysis_tools/benchmark_points3d.py')


def test_it_writes_what_it_prints(tool, tmp_path, capsys):
    before = torch.get_num_threads()
    try:
        tool.main(['--voxels', '300', '--m', '2', '--levels', '2', '--points', '500', '--noise', '0.03',
                   '--repeats', '1', '--threads', '1', '--json', str(tmp_path / 'out.json')])
    finally:
        torch.set_num_threads(before)
    written = json.loads((tmp_path / 'out.json').read_text())
    printed = capsys.readouterr().out
    assert all(name in printed for name in written['rows'])
    assert {'unet training step', 'components 3 cm 500', 'subm 2x2 forward'} <= set(written['rows'])
    assert all(0 < row['min_s'] <= row['median_s'] for row in written['rows'].values())


def test_the_scene_is_a_surface(tool):
    """Pairs a voxel are those of real scans, 8 to 12, not those of noise or of a solid."""
    voxels, shape = tool.room(20_000)
    indices = torch.cat([torch.zeros(len(voxels), 1, dtype=torch.long), voxels], 1)
    book = submanifold(SparseTensor(torch.zeros(len(voxels), 1), indices, shape, 1), (3, 3, 3))
    pairs = sum(len(tile.sources) for tile in book.forward.tiles)
    assert len(voxels) == 20_000 and 8 < pairs / 20_000 < 12


def test_verdicts_compare_with_the_limits(tool):
    args = tool.parse_args(['--noise', '0.01'])
    times = {name: dict(min_cpu_s=seconds) for name, seconds in {
        'unet forward': 0.5, 'unet training step': 2.0, 'components 1 cm 50000': 0.1, 'components 1 cm 100000': 0.3,
        'components 1 cm 400000': 1.1}.items()}
    assert [('ABOVE' in text) for text in tool.verdicts(times, args)] == [False, True, False, True]


def test_help_teaches_and_bad_numbers_are_refused(tool, capsys):
    with pytest.raises(SystemExit):
        tool.parse_args(['--help'])
    assert 'examples:' in capsys.readouterr().out
    with pytest.raises(SystemExit):
        tool.parse_args(['--voxels', '0'])
    assert 'must be positive' in capsys.readouterr().err
