"""Evaluation in one, two and three processes: every sample once, in order, and the same metrics."""

import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope='module')
def runs(tool, tmp_path_factory):
    """Folder WORLD/TASK of the runs of gathering.py."""
    folder = tmp_path_factory.mktemp('gathering')
    done = tool(HERE / 'gathering.py', folder)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return folder


@pytest.mark.parametrize('task, ids', [
    ('detection', [[0, 1, 2, 3, 4]]), ('segmentation', [[0, 1, 2, 3, 4]]),
    ('restoration', [[0, 1, 2, 3, 4], [0, 1]])])  # the second set has fewer images than there are processes
def test_no_sample_is_lost_or_counted_twice(runs, task, ids):
    found = {world: json.loads((runs / str(world) / task / 'metrics.json').read_text()) for world in (1, 2, 3)}
    for world, metrics in found.items():
        assert json.loads((runs / str(world) / task / 'ids.json').read_text()) == ids
        assert metrics.pop('world') == world
    assert found[1] == found[2] == found[3] and len(found[1]) >= 2
