"""Two gloo processes: a training step of detector and gates, and statistics over all images."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from projects.dyfpn import DyFPN

WORKER = Path(__file__).with_name('dyfpn_worker.py')


@pytest.fixture(scope='module')
def results(root, tmp_path_factory):
    """What each process arrived at."""
    folder = tmp_path_factory.mktemp('two')
    environment = {**os.environ, 'PYTHONPATH': str(root)}
    workers = [subprocess.Popen(
        [sys.executable, str(WORKER), str(rank), str(folder / 'store'), str(folder / f'{rank}.json')],
        cwd=folder, env=environment, stdout=subprocess.DEVNULL) for rank in (0, 1)]
    try:
        codes = [worker.wait(timeout=400) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert codes == [0, 0]
    return [json.loads((folder / f'{rank}.json').read_text()) for rank in (0, 1)]


def test_both_processes_arrive_at_the_same_weights(results):
    first, second = (result['train'] for result in results)
    assert first['bias'] == second['bias'] and first['sum'] == second['sum']
    assert first['bias'] != first['before']


def test_statistics_count_every_image_once(results):
    """Training averages over both processes; validation leaves out what fills up the last round."""
    first, second = (result['scalars'] for result in results)
    assert first == second
    names = ('open_s16', 'open_s32', 'open_cost')  # two levels of equal channels: 4/5 and 1/5 of the cost
    assert [first[f'train/gates/{name}'] for name in names] == pytest.approx([2 / 3, 1 / 3, (0.8 + 1) / 3])
    assert [first[f'val/gates/{name}'] for name in names] == pytest.approx([2 / 5, 1 / 5, (2 * 0.8 + 0.2) / 5])
    (_, fine), (_, coarse) = DyFPN([4, 4], 4, 2).choice_costs([(8, 8), (4, 4)])
    skip = 4 * 4 * (64 + 16)
    assert first['val/gates/lateral_gmacs'] == pytest.approx(((2 * fine + coarse) / 5 + skip) / 1e9)
