"""Precision, recall and coverage of 3D instances at an IoU of 0.5, as reported on S3DIS.

The rules are those of ASIS (arXiv 1902.09852; WXinlong/ASIS, models/ASIS/eval_iou_accuracy.py): a prediction is one
instance id a point; the class of an instance, predicted or true, is the most frequent semantic label of its points;
several predictions may count on one ground truth, and there is no minimum size. Coverage (mCov) is the mean over rooms
of the mean best IoU of a class's ground truth; mWCov weights by its points.

Departures, where the script divides zero by zero or was silent:

- means are over classes with ground truth; a class with ground truth that nothing was predicted for has precision 0
  (the script: NaN, also for the mean);
- true points without an instance (id below 0; S3DIS has none) are no instance of their own.
- :func:`flatten` turns overlapping masks into ids; that better masks are painted over weaker ones is [inferred].
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .instance_ap import majority

RoomCounts = dict[str, np.ndarray]


def flatten(masks: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """One instance a point, out of masks that may overlap: the one of the highest score.

    Args:
        masks: (k, n) bool.
        scores: (k,); of equal scores the later mask wins.

    Returns:
        (n,) int64 index of the mask, -1 where there is none.
    """
    painted = np.full(masks.shape[1], -1, dtype=np.int64)
    for index in np.argsort(scores, kind='stable'):
        painted[np.flatnonzero(masks[index])] = index
    return painted


def _numbered(instance: np.ndarray, semantic: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number of each point's instance (that of the last row if none), and class and size of the instances."""
    inside = instance >= 0
    ids, codes = np.unique(instance[inside], return_inverse=True)
    numbers = np.full(len(instance), len(ids), dtype=np.int64)
    numbers[inside] = codes
    return numbers, majority(codes, semantic[inside], len(ids)), np.bincount(codes, minlength=len(ids))


def count_room(gt_semantic: np.ndarray, gt_instance: np.ndarray, semantic: np.ndarray, instance: np.ndarray,
               num_classes: int, iou_thr: float = 0.5) -> RoomCounts:
    """Count a room's hits, misses and coverage.

    Args:
        gt_semantic: (n,) true classes, 0 to ``num_classes - 1``; others are of no class.
        gt_instance: (n,) true instance ids, negative for none.
        semantic: (n,) predicted classes.
        instance: (n,) predicted instance ids, negative for none.
        num_classes: Number of classes.
        iou_thr: IoU from which on a prediction is right (at least, not above).

    Returns:
        ``right``, ``wrong`` (predictions) and ``true`` (ground truth), (num_classes,) int64; ``cov`` and ``wcov``,
        (num_classes,) float64, NaN for classes without ground truth.
    """
    true, true_class, true_size = _numbered(gt_instance, gt_semantic)
    pred, pred_class, pred_size = _numbered(instance, semantic)
    shape = (len(pred_class) + 1, len(true_class) + 1)
    common = np.bincount(pred * shape[1] + true, minlength=shape[0] * shape[1]).reshape(shape)[:-1, :-1]
    iou = common / np.maximum(pred_size[:, None] + true_size - common, 1)
    iou[pred_class[:, None] != true_class] = 0
    best_of_pred, best_of_true = iou.max(1, initial=0), iou.max(0, initial=0)
    hit = best_of_pred >= iou_thr

    def per_class(classes: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        own = (classes >= 0) & (classes < num_classes)
        return np.bincount(classes[own], None if weights is None else weights[own], minlength=num_classes)

    count, points = per_class(true_class), per_class(true_class, true_size.astype(np.float64))
    with np.errstate(invalid='ignore'):  # 0 / 0 of classes without ground truth
        return dict(right=per_class(pred_class[hit]), wrong=per_class(pred_class[~hit]), true=count,
                    cov=per_class(true_class, best_of_true) / count,
                    wcov=per_class(true_class, best_of_true * true_size) / points)


def precision_recall(rooms: Iterable[RoomCounts]) -> dict[str, np.ndarray | float]:
    """Precision, recall and coverage over rooms.

    Args:
        rooms: Counts of the rooms, from :func:`count_room`; at least one.

    Returns:
        ``precision``, ``recall``, ``cov``, ``wcov`` of the classes, NaN without ground truth, and their means over the
        other classes, ``mPrec``, ``mRec``, ``mCov``, ``mWCov``. Fractions of 1.
    """
    rooms = list(rooms)
    right, wrong, true = (sum(room[key] for room in rooms) for key in ('right', 'wrong', 'true'))
    there = true > 0
    found = dict(precision=np.where(there, right / np.maximum(right + wrong, 1), np.nan),
                 recall=np.where(there, right / np.maximum(true, 1), np.nan))
    for key in ('cov', 'wcov'):
        values = np.array([room[key] for room in rooms])
        seen = (~np.isnan(values)).sum(0)
        found[key] = np.where(there, np.nansum(values, 0) / np.maximum(seen, 1), np.nan)
    means = dict(zip(('mPrec', 'mRec', 'mCov', 'mWCov'), ('precision', 'recall', 'cov', 'wcov'), strict=True))
    return {**found, **{name: float(found[key][there].mean()) if there.any() else float('nan')
                        for name, key in means.items()}}
