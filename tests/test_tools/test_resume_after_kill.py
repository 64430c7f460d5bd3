"""A run killed with -9 at any moment leaves a checkpoint that loads, and goes on from it.

The run saves 16 MB after every iteration and keeps one checkpoint, so that most kills fall into
saving, renaming or deleting.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from projects.runtime.checkpoint_files import check_checkpoint, read_checkpoint

HERE = Path(__file__).parent
CONFIG = HERE / 'toy_config.py'
TRAIN = HERE.parents[1] / 'tools' / 'train.py'
DELAYS = (0.0, 0.213, 0.357)


@pytest.fixture
def environment(tool_environment):
    path = os.pathsep.join([tool_environment['PYTHONPATH'], str(HERE)])
    return {**tool_environment, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'}


def saved_iteration(work_dir):
    """The iteration that `last_checkpoint` names, which must be loadable and resumable."""
    path = (work_dir / 'last_checkpoint').read_text()
    check_checkpoint(path, resume=True)
    content = read_checkpoint(path)
    number = int(re.search(r'iter_(\d+)\.pth$', path)[1])
    assert content['meta']['iter'] == number
    assert content['message_hub']['runtime_info']['iter'] == number - 1
    return number


def train_and_kill(work_dir, environment, delay, log, *options):
    """Start training, and kill it `delay` seconds after it has saved something new."""
    pointer = work_dir / 'last_checkpoint'
    before = pointer.stat().st_mtime_ns if pointer.exists() else 0
    with open(log, 'w') as output:
        process = subprocess.Popen(
            [sys.executable, str(TRAIN), str(CONFIG), '--work-dir', str(work_dir), *options],
            cwd=work_dir.parent, env=environment, stdout=output, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 120
    while not pointer.exists() or pointer.stat().st_mtime_ns == before:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.002)
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_runs_go_on(tmp_path, environment):
    work_dir, reached = tmp_path / 'run', 0
    for number, delay in enumerate(DELAYS):
        log = tmp_path / f'log{number}'
        train_and_kill(work_dir, environment, delay, log, *(['--resume'] if number else []))
        if number:
            assert f'resumed epoch: 0, iter: {reached}' in log.read_text()
        now = saved_iteration(work_dir)
        assert now > reached
        reached = now
    (work_dir / '.iter_7.pth.tmp-some.host-1').write_bytes(b'of another machine')
    done = subprocess.run(
        [sys.executable, str(TRAIN), str(CONFIG), '--work-dir', str(work_dir), '--resume',
         '--cfg-options', f'train_cfg.max_iters={reached + 2}'],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert f'Resuming from {work_dir}/iter_{reached}.pth.' in done.stdout
    assert saved_iteration(work_dir) == reached + 2
    left = {path.name for path in work_dir.iterdir() if path.is_file()}
    assert {f'iter_{reached + 2}.pth', 'last_checkpoint', '.iter_7.pth.tmp-some.host-1'} <= left
    assert not [name for name in left if '.tmp-' in name and 'some.host' not in name]
    superfluous = [name for name in left if name.startswith('iter_')]
    assert len(superfluous) <= 1 + len(DELAYS)  # a kill may leave the file it was about to delete
