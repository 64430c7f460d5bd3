"""tools/make_env.sh: what failed is not marked as done. pip and Python are stand-ins; nothing is installed."""

import os
import shutil
import subprocess

import pytest

PYTHON = """#!/bin/sh
# stands for the Python of the environment: notes its call, and fails where the test says so
echo "$*" >> calls.log
case "$*" in *"import sys, torch"*) echo torch9-stub ;; esac
case "$*" in *"$FAIL"*) exit 1 ;; esac
"""


@pytest.fixture
def checkout(root, tmp_path):
    """What the script reads, with an environment that is a stand-in, and a kept wheel of mmcv."""
    for name in ('tools/make_env.sh', 'constraints.txt', 'setup.py', 'pyproject.toml'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(root / name, tmp_path / name)
    (tmp_path / 'projects/adder/csrc').mkdir(parents=True)
    (tmp_path / 'projects/adder/csrc/adder.cpp').touch()
    python = tmp_path / '.venv/bin/python'
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON)
    python.chmod(0o755)
    wheels = tmp_path / 'wheels/torch9-stub'
    wheels.mkdir(parents=True)
    [mmcv] = [line.split('==')[1] for line in (root / 'constraints.txt').read_text().splitlines()
              if line.startswith('mmcv==')]
    (wheels / f'mmcv-{mmcv}-cp311.whl').touch()

    def run(fail='nothing'):
        (tmp_path / 'calls.log').unlink(missing_ok=True)
        done = subprocess.run(['bash', 'tools/make_env.sh'], cwd=tmp_path, capture_output=True, text=True, check=False,
                              env={**os.environ, 'FAIL': fail, 'MMDOWNSTREAM_WHEELS': str(tmp_path / 'wheels')})
        steps = tmp_path / '.venv/.steps'
        return done, sorted(path.name for path in steps.iterdir()), (tmp_path / 'calls.log').read_text()
    return run


@pytest.mark.parametrize('fail, step, done', [
    ('constraints.txt torch', 'torch', []), ('cp311.whl', 'mmcv', ['torch']), ('import mmcv.ops', 'mmcv', ['torch']),
    ('.[all,test]', 'package', ['mmcv', 'torch'])])
def test_a_step_that_fails_is_tried_again(checkout, fail, step, done):
    """Also where the failing command is not the last of its step."""
    first, marks, _ = checkout(fail)
    assert first.returncode == 1 and f"step '{step}' failed" in first.stderr and marks == done
    second, marks, calls = checkout()
    assert second.returncode == 0, second.stderr
    assert marks == ['mmcv', 'package', 'torch'] and fail in calls
    third, _, calls = checkout()
    assert third.returncode == 0 and calls.strip() == '-m pip --version'
