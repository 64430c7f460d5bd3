"""Predictions as mmdet dumps them, for the submission tests."""
import importlib.util
import sys
from pathlib import Path

import pytest
import torch


def _prediction(img_id, boxes, scores, labels, ori_shape=(100, 200), img_path=''):
    return dict(
        img_id=img_id, img_path=img_path, ori_shape=ori_shape,
        pred_instances=dict(
            bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            scores=torch.tensor(scores, dtype=torch.float32),
            labels=torch.tensor(labels, dtype=torch.int64)))


@pytest.fixture
def prediction():
    """One image's result: (img_id, xyxy boxes, scores, labels, ori_shape, img_path) -> dict."""
    return _prediction


@pytest.fixture
def dump():
    """(results, path): write them with mmdet's own metric, as ``tools/test.py --out`` does."""
    metrics = pytest.importorskip('mmdet.evaluation.metrics')

    def write(results, path):
        metric = metrics.DumpDetResults(out_file_path=str(path))
        metric.process({}, results)
        metric.compute_metrics(metric.results)
        return path
    return write


def _load(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f'{name}.py'))
    sys.modules[name] = module = importlib.util.module_from_spec(spec)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='session')
def cases():
    """The module ``archive_cases.py`` beside this file."""
    return _load('archive_cases')


@pytest.fixture(scope='session')
def engine(cases):
    """The module ``mutations.py`` beside this file, which imports the former."""
    return _load('mutations')
