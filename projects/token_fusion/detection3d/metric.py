"""Average precision of 3D boxes as in VoteNet (arXiv 1904.09664), computed with arrays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from mmdet3d.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from terminaltables import AsciiTable

if TYPE_CHECKING:
    from mmdet3d.structures import BaseInstance3DBoxes


def average_precision(hits: np.ndarray, num_truth: int) -> tuple[float, float]:
    """Area under the precision envelope, and the recall of all detections.

    Args:
        hits: (n,) bool, detections by falling score.
        num_truth: Objects that there are, at least 1.
    """
    found = hits.cumsum()
    recall = np.concatenate([[0.], found / num_truth])
    precision = np.maximum.accumulate((found / np.arange(1, len(hits) + 1))[::-1])[::-1]
    return float((recall[1:] - recall[:-1]) @ precision), float(recall[-1])


@METRICS.register_module()
class BoxAP3D(BaseMetric):
    """The figures of mmdet3d's ``IndoorMetric``, apart from three things.

    Classes without an object in the truth are left out of means (there: not a number); any NumPy will do; per-class
    detections of thousands of scenes take seconds, because boxes are not taken apart one by one. Only mean figures and
    each class's AP are reported.

    Args:
        iou_thr: Thresholds of IoU.
        collect_device, prefix: See ``BaseMetric``.
    """

    def __init__(self, iou_thr: Sequence[float] = (0.25, 0.5), collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.iou_thr = list(iou_thr)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep truth (``eval_ann_info``) and detections (``pred_instances_3d``) of a batch, on the CPU."""
        for sample in data_samples:
            found = {key: sample['pred_instances_3d'][key].to('cpu') for key in ('bboxes_3d', 'scores_3d', 'labels_3d')}
            self.results.append((sample['eval_ann_info'], found))

    def compute_metrics(self, results: Sequence[tuple[dict, dict]]) -> dict[str, float]:
        """``mAP_0.25``, ``mAR_0.25``, ``<class>_AP_0.25`` and the like, 0 to 1; of pairs of truth and detections."""
        hits, scores, total = defaultdict(list), defaultdict(list), np.zeros(len(self.dataset_meta['classes']), int)
        for truth, found in results:
            true_labels = np.asarray(truth['gt_labels_3d'])
            total += np.bincount(true_labels[true_labels >= 0], minlength=len(total))
            labels = found['labels_3d'].numpy()
            confidence = found['scores_3d'].numpy()
            order = np.argsort(-confidence, kind='stable')
            for label in np.unique(labels):
                own = order[labels[order] == label]
                scores[label].append(confidence[own])
                hits[label].append(self.matches(found['bboxes_3d'][torch.from_numpy(own)],
                                                truth['gt_bboxes_3d'][torch.from_numpy(true_labels == label)]))
        present = np.flatnonzero(total)
        table = np.zeros((len(present), len(self.iou_thr), 2))  # AP and recall
        for row, label in zip(table, present, strict=True):
            if scores[label]:
                order = np.argsort(-np.concatenate(scores[label]), kind='stable')
                row[:] = [average_precision(own, total[label]) for own in np.concatenate(hits[label])[order].T]
        return self.report(present, table)

    def matches(self, boxes: BaseInstance3DBoxes, truth: BaseInstance3DBoxes) -> np.ndarray:
        """Which of a sample's boxes of a class, best first, hit an object that no better one has: (n, thresholds)."""
        hits = np.zeros((len(boxes), len(self.iou_thr)), bool)
        if not len(truth) or not len(boxes):
            return hits
        overlaps = boxes.overlaps(boxes, truth.to('cpu')).numpy()
        nearest, value = overlaps.argmax(1), overlaps.max(1)
        for column, threshold in enumerate(self.iou_thr):
            enough = np.flatnonzero(value > threshold)
            _, first = np.unique(nearest[enough], return_index=True)
            hits[enough[first], column] = True
        return hits

    def report(self, present: np.ndarray, table: np.ndarray) -> dict[str, float]:
        """Logs a table and returns the figures of (classes, thresholds, 2)."""
        names = [self.dataset_meta['classes'][label] for label in present]
        heads = [f'{kind}_{threshold:.2f}' for threshold in self.iou_thr for kind in ('AP', 'AR')]
        means = table.mean(0) if len(table) else table.sum(0)
        rows = [[name, *(f'{value:.4f}' for value in row.ravel())]
                for name, row in zip([*names, 'mean'], [*table, means], strict=True)]
        MMLogger.get_current_instance().info('\n' + AsciiTable([['class', *heads], *rows]).table)
        figures = {f'm{head}': float(value) for head, value in zip(heads, means.ravel(), strict=True)}
        for name, row in zip(names, table, strict=True):
            figures.update({f'{name}_AP_{threshold:.2f}': float(value)
                            for threshold, value in zip(self.iou_thr, row[:, 0], strict=True)})
        return figures
