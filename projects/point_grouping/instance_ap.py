"""Average precision of 3D instances as ScanNet's benchmark computes it.

The rules are those of the official script (ScanNet/ScanNet,
BenchmarkScripts/3d_evaluation/evaluate_semantic_instance.py) with its corner cases, which decide the third digit:

- nine thresholds, 0.50 to 0.90, make "AP" (the script's range ends before 0.95, whatever the web page says); 0.25 is
  apart;
- a match needs an IoU strictly above the threshold; ground truth is visited in ascending order, its predictions in the
  order given, and a second match of one ground truth is a false positive with the lower of the two scores;
- predictions and ground truth under 100 points do not count; a prediction is excused if more than the threshold's share
  of it lies on void points or on small ground truth of its class;
- the area under the curve is taken from the raw precision, without a monotone envelope.

One departure: predictions that are all excused give an AP of 0 here; the script as published stops with an IndexError.

A scene is reduced to its overlaps first (:func:`overlap_scene`): a few kilobytes, whatever the number of points, so
that processes can exchange them. :func:`average_precision` needs nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

OVERLAPS = np.append(np.arange(0.5, 0.95, 0.05), 0.25)
"""IoU thresholds, (10,): nine of "AP", then 0.25. Their rounding errors are the official script's."""
MIN_REGION = 100
"""Points that an instance needs to count."""

SceneOverlaps = dict[str, np.ndarray]


def majority(groups: np.ndarray, labels: np.ndarray, num_groups: int) -> np.ndarray:
    """The most frequent label of each group; the lowest one of a tie.

    Args:
        groups: (n,) group of each point, 0 to ``num_groups - 1``.
        labels: (n,) integers, of any sign.
        num_groups: Number of groups.

    Returns:
        (num_groups,) labels; of groups without points, the lowest label that occurs.
    """
    values, codes = np.unique(labels, return_inverse=True)
    if not len(values):
        return np.zeros(num_groups, dtype=np.int64)
    counts = np.bincount(groups * len(values) + codes, minlength=num_groups * len(values))
    return values[counts.reshape(num_groups, -1).argmax(1)]


def true_instances(semantic: np.ndarray, instance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the instances of a scene in ascending order of (label, id), as the benchmark's ground-truth files do.

    Args:
        semantic: (n,) label of each point. An instance with points of several labels gets the most frequent one.
        instance: (n,) id of each point's instance, negative for none.

    Returns:
        (n,) numbers from 0, -1 for none, and the labels of the instances, (g,).
    """
    numbers = np.full(len(instance), -1, dtype=np.int64)
    inside = instance >= 0
    ids, codes = np.unique(instance[inside], return_inverse=True)
    labels = majority(codes, semantic[inside], len(ids)).astype(np.int64)
    order = np.lexsort((ids, labels))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    numbers[inside] = rank[codes]
    return numbers, labels[order]


def overlap_scene(semantic: np.ndarray, instance: np.ndarray, masks: np.ndarray, labels: np.ndarray,
                  scores: np.ndarray, valid_labels: Sequence[int], min_region: int = MIN_REGION) -> SceneOverlaps:
    """Reduce a scene to what its average precision depends on.

    Args:
        semantic: (n,) true label of each point; labels outside ``valid_labels`` are void.
        instance: (n,) true instance of each point, negative for none; such points are void, too.
        masks: (k, n) bool, the predicted instances, which may overlap.
        labels: (k,) label of each prediction; others than ``valid_labels`` are skipped.
        scores: (k,) confidence of each prediction.
        valid_labels: Labels of the classes that are evaluated.
        min_region: Smaller predictions are skipped.

    Returns:
        Arrays ``gt_label``, ``gt_size`` (g,), ``label``, ``score``, ``size``, ``void`` (p,), and ``pairs`` (m, 3): the
        prediction, the ground truth and the number of common points, for pairs of one class with common points.

    Raises:
        ValueError: Shapes that do not fit together.
    """
    count = len(semantic)
    if instance.shape != (count,) or masks.shape != (len(labels), count) or len(scores) != len(labels):
        raise ValueError(f'semantic {semantic.shape}, instance {instance.shape}, masks {masks.shape}, labels '
                         f'{labels.shape}, scores {scores.shape}: expected (n,), (n,), (k, n), (k,), (k,)')
    numbers, true_labels = true_instances(semantic, instance)
    valid = np.isin(true_labels, valid_labels)
    # columns: the valid instances, then one of everything void
    columns = np.where(valid, valid.cumsum() - 1, valid.sum())
    column = np.append(columns, valid.sum())[numbers]
    total = int(valid.sum())
    gt_label = true_labels[valid]
    rows, kept = [], []
    for index in np.flatnonzero(np.isin(labels, valid_labels)):
        row = np.bincount(column[np.flatnonzero(masks[index])], minlength=total + 1)
        if row.sum() >= min_region:
            rows.append(row)
            kept.append(index)
    common = np.array(rows, dtype=np.int64).reshape(-1, total + 1)
    label = np.asarray(labels)[kept].astype(np.int64)
    pred, true = np.nonzero(common[:, :-1] * (label[:, None] == gt_label))
    return dict(gt_label=gt_label, gt_size=np.bincount(column, minlength=total + 1)[:-1], label=label,
                score=np.asarray(scores)[kept].astype(np.float64), size=common.sum(1), void=common[:, -1],
                pairs=np.stack([pred, true, common[pred, true]], 1))


def _class_of(scene: SceneOverlaps, label: int, min_region: int) -> dict[str, Any]:
    """One class in one scene: best IoU and excused share of its predictions, pairs with ground truth that counts."""
    pred, true, common = scene['pairs'].T
    own = scene['label'][pred] == label
    pred, true, common = pred[own], true[own], common[own]
    iou = common / (scene['size'][pred] + scene['gt_size'][true] - common)
    large = scene['gt_size'][true] >= min_region
    best, excused = np.zeros(len(scene['label'])), scene['void'].astype(np.float64)
    np.maximum.at(best, pred, iou)
    np.add.at(excused, pred[~large], common[~large])
    mine = scene['label'] == label
    order = np.lexsort((pred[large], true[large]))
    return dict(
        truths=int(((scene['gt_label'] == label) & (scene['gt_size'] >= min_region)).sum()),
        best=best[mine], excused=excused[mine] / scene['size'][mine], score=scene['score'][mine],
        pairs=[(int(t), int(p), float(i), float(scene['score'][p]))
               for t, p, i in zip(true[large][order], pred[large][order], iou[large][order], strict=True)])


def _greedy(pairs: list[tuple[int, int, float, float]], threshold: float) -> tuple[list[float], list[float]]:
    """Scores of the matched ground truth, and of the false positives among the matches; pairs sorted by both."""
    matched: dict[int, float] = {}
    false, visited = [], set()
    for true, pred, iou, score in pairs:
        if iou <= threshold or pred in visited:
            continue
        if true in matched:
            false.append(min(matched[true], score))
            matched[true] = max(matched[true], score)
        else:
            matched[true] = score
            visited.add(pred)
    return list(matched.values()), false


def _area(positive: np.ndarray, negative: np.ndarray, missed: int) -> float:
    """Area under precision over recall at every distinct score.

    Args:
        positive, negative: Scores of the true and the false positives.
        missed: Ground truth that nothing matched.
    """
    levels = np.unique(np.concatenate([positive, negative]))
    if not len(levels):
        return 0.
    right = len(positive) - np.searchsorted(np.sort(positive), levels)
    wrong = len(negative) - np.searchsorted(np.sort(negative), levels)
    precision = np.append(right / (right + wrong), 1.)  # the last point of the curve is made up
    recall = np.append(right / max(len(positive) + missed, 1), 0.)
    padded = np.concatenate([recall[:1], recall, [0.]])
    return float(precision @ ((padded[:-2] - padded[2:]) / 2))


def average_precision(scenes: Iterable[SceneOverlaps], valid_labels: Sequence[int],
                      overlaps: np.ndarray = OVERLAPS, min_region: int = MIN_REGION) -> np.ndarray:
    """AP of each class at each threshold.

    Args:
        scenes: Overlaps of the scenes, from :func:`overlap_scene`.
        valid_labels: Labels of the classes, in the order of the result.
        overlaps: (t,) IoU thresholds.
        min_region: Smaller ground truth does not count.

    Returns:
        (classes, t) float64; NaN for classes without ground truth, 0 for those without predictions.
    """
    scenes = list(scenes)
    table = np.full((len(valid_labels), len(overlaps)), np.nan)
    for row, label in enumerate(valid_labels):
        parts = [_class_of(scene, label, min_region) for scene in scenes]
        truths = sum(part['truths'] for part in parts)
        if truths == 0:
            continue
        best, excused, score = (np.concatenate([part[key] for part in parts]) for key in ('best', 'excused', 'score'))
        for column, threshold in enumerate(overlaps):
            positive, negative = [], list(score[(best <= threshold) & (excused <= threshold)])
            for part in parts:
                right, wrong = _greedy(part['pairs'], threshold)
                positive += right
                negative += wrong
            table[row, column] = _area(np.array(positive), np.array(negative), truths - len(positive))
    return table


def summarize(table: np.ndarray, overlaps: np.ndarray = OVERLAPS) -> Mapping[str, np.ndarray | float]:
    """The figures that are reported, from the result of :func:`average_precision`.

    Returns:
        ``AP``, ``AP50``, ``AP25`` (floats, NaN if no class has ground truth) and ``class_AP``, ``class_AP50``,
        ``class_AP25`` (one a class, NaN without ground truth). Fractions of 1.
    """
    quarter = np.isclose(overlaps, 0.25)
    parts = dict(AP=table[:, ~quarter], AP50=table[:, np.isclose(overlaps, 0.5)], AP25=table[:, quarter])
    found: dict[str, np.ndarray | float] = {}
    for name, part in parts.items():
        found[name] = float(np.nanmean(part)) if (~np.isnan(part)).any() else float('nan')
        found[f'class_{name}'] = part.mean(1)
    return found
