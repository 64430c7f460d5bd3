"""Predictions as mmdet dumps them, for the submission tests."""
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
