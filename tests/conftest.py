"""What all tests share: where the given reference data lies, and the mini detection set."""

import gc
import importlib.util
import os
import sys
from pathlib import Path
from unittest import mock

import pytest

# Waiting threads must sleep: two test processes on two cores would otherwise spend their time spinning.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

ROOT = Path(__file__).resolve().parents[1]


def _load_tool(path):
    file = ROOT / 'tools' / path
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # workers of a process pool look functions up by module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True, scope='module')
def no_default_scope():
    """Every test file begins without mmengine's default scope, as in a process of its own.

    The scope outlives a test: names would be looked up in the registry of whatever library was tested before.
    """
    registry = sys.modules.get('mmengine.registry')
    if registry is not None:
        registry.DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True, scope='module')
def few_objects_to_collect():
    """Building a data set collects garbage (mmengine): a quarter of a second with all libraries in memory.

    What is alive before a file's tests, the libraries above all, is left out of collections.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope='session')
def unformatted_configs():
    """mmengine writes a run's config four times, laid out by yapf: half a second or more that no test asks for."""
    with mock.patch('mmengine.config.config.FormatCode', lambda text, **_: (text, True)):
        yield


@pytest.fixture(scope='session')
def load_tool():
    """Function: a script, by its path under tools/, as a module."""
    return _load_tool


@pytest.fixture(scope='session')
def root():
    """Root of the repository."""
    return ROOT


@pytest.fixture(scope='session')
def shared():
    """Folder of reference data beside the checkout; MMDOWNSTREAM_SHARED names another place."""
    folder = Path(os.environ.get('MMDOWNSTREAM_SHARED', ROOT.parent / 'shared'))
    if not (folder / 'golden').is_dir():
        pytest.skip(f'needs the reference data, not found in {folder} (set MMDOWNSTREAM_SHARED)')
    return folder


@pytest.fixture(scope='session')
def golden(shared):
    """Stored outputs of official code."""
    return shared / 'golden'


@pytest.fixture(scope='session')
def mini_root(tmp_path_factory):
    """A data root with a small mini set: `coco/` and `voc/` below `mini/`; 12 training and 5 validation images."""
    folder = tmp_path_factory.mktemp('data')
    _load_tool('dataset_converters/make_mini_detection.py').generate(
        folder / 'mini', train=12, val=5, size=(192, 160), seed=0, workers=1, force=False)
    return folder
