"""A tiny detection data set, a tiny detector's config, and the tools as separate processes."""

import io
import json
import os
import runpy
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pytest
from mmdet.visualization import DetLocalVisualizer
from mmengine.logging import MMLogger
from mmengine.visualization import Visualizer

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = Path(__file__).with_name('tiny_fcos.py')


def draw(rng: np.random.Generator, size: int = 64) -> tuple[np.ndarray, list]:
    """An image with one bright square and one bright disc, and their (class, [x, y, w, h])."""
    image = rng.integers(0, 60, (size, size, 3), dtype=np.uint8)
    objects = []
    for label in (0, 1):
        side = int(rng.integers(14, 28))
        x, y = (int(value) for value in rng.integers(0, size - side, 2))
        if label == 0:
            cv2.rectangle(image, (x, y), (x + side - 1, y + side - 1), (255, 200, 40), -1)
        else:
            cv2.circle(image, (x + side // 2, y + side // 2), side // 2 - 1, (40, 120, 255), -1)
        objects.append((label, [x, y, side, side]))
    return image, objects


def write_split(root: Path, split: str, count: int, seed: int) -> None:
    """Write `count` images and their COCO annotations."""
    rng = np.random.default_rng(seed)
    (root / split).mkdir(parents=True)
    (root / 'annotations').mkdir(exist_ok=True)
    images, annotations = [], []
    for index in range(count):
        image, objects = draw(rng)
        name = f'{index:03d}.jpg'
        cv2.imwrite(str(root / split / name), image)
        images.append(dict(id=index, file_name=name, height=64, width=64))
        for label, box in objects:
            annotations.append(dict(id=len(annotations) + 1, image_id=index, category_id=label + 1,
                                    bbox=box, area=box[2] * box[3], iscrowd=0))
    categories = [dict(id=1, name='square'), dict(id=2, name='disc')]
    (root / 'annotations' / f'{split}.json').write_text(json.dumps(
        dict(images=images, annotations=annotations, categories=categories)))


@pytest.fixture(scope='session')
def tiny_data(tmp_path_factory) -> Path:
    """A folder to use as MMDOWNSTREAM_DATA: `tiny/` holds 8 training and 5 validation images."""
    folder = tmp_path_factory.mktemp('data')
    write_split(folder / 'tiny', 'train', 8, seed=0)
    write_split(folder / 'tiny', 'val', 5, seed=1)
    return folder


@pytest.fixture(scope='session')
def tool_environment(tiny_data) -> dict[str, str]:
    """Environment of the tools: the tiny data, this repository, no GPU."""
    return {**os.environ, 'MMDOWNSTREAM_DATA': str(tiny_data), 'CUDA_VISIBLE_DEVICES': '',
            'PYTHONPATH': str(REPOSITORY), 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'}


@pytest.fixture(scope='session')
def tool(tool_environment):
    """Run a tool of the repository, or any script, to its end; returns its CompletedProcess."""
    def run(script, *arguments, cwd=None, env=None, timeout=240):
        script = Path(script) if os.path.isabs(script) else REPOSITORY / 'tools' / script
        start = [sys.executable] if script.suffix == '.py' else ['bash']
        return subprocess.run(
            [*start, str(script), *map(str, arguments)], cwd=cwd, text=True, capture_output=True,
            env={**tool_environment, **(env or {})}, timeout=timeout)
    return run


def wait_for_a_free_name(arguments) -> None:
    """mmengine names a run's loggers CONFIG_SECOND; let a second pass if the name is taken."""
    stems = [Path(argument).stem for argument in map(str, arguments) if argument.endswith('.py')]
    while any(MMLogger.check_instance_created(f'{stem}_{time.strftime("%Y%m%d_%H%M%S")}')
              for stem in stems):
        time.sleep(0.05)


@dataclass
class Finished:
    """How a tool that ran in this process ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope='session')
def tool_here(tool_environment, tmp_path_factory):
    """Run a Python tool in this process, which saves the seconds of importing everything again.

    Returns a `Finished`; exceptions other than SystemExit come through.
    """
    def run(script, *arguments, cwd=None):
        path = REPOSITORY / 'tools' / script
        stdout, stderr, code = io.StringIO(), io.StringIO(), 0
        wait_for_a_free_name(arguments)
        for kind in (Visualizer, DetLocalVisualizer):  # a former run's would be taken, and write into its folder
            kind._instance_dict.clear()
        before = Path.cwd()
        os.chdir(cwd or tmp_path_factory.mktemp('cwd'))
        with (mock.patch.dict(os.environ, tool_environment), redirect_stdout(stdout),
              redirect_stderr(stderr),
              mock.patch.object(sys, 'argv', [str(path), *map(str, arguments)])):
            try:
                runpy.run_path(str(path), run_name='__main__')
            except SystemExit as stop:
                code = stop.code
            finally:
                os.chdir(before)
        return Finished(code, stdout.getvalue(), stderr.getvalue())
    return run


@pytest.fixture(scope='session')
def trained(tool_here, tmp_path_factory) -> Path:
    """The work dir of one epoch of the tiny detector."""
    folder = tmp_path_factory.mktemp('trained')
    done = tool_here('train.py', CONFIG, '--work-dir', folder / 'run')
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert f'Finished. Checkpoints: {folder}/run/' in done.stdout
    return folder / 'run'
