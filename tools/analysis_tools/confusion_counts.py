"""Counts of a confusion matrix: rows are true classes, columns predicted ones."""

import numpy as np


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of boxes (n, 4) and (m, 4), x1, y1, x2, y2: (n, m)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (first, second)]
    return common / np.maximum(areas[0][:, None] + areas[1] - common, 1e-9)


def match(ious: np.ndarray, threshold: float) -> list[tuple[int, int]]:
    """Pairs (row, column) of at least `threshold`, the highest first, each row and column in one pair at most."""
    pairs, ious = [], ious.copy()
    while ious.size:
        row, column = np.unravel_index(ious.argmax(), ious.shape)
        if ious[row, column] < threshold:
            break
        pairs.append((int(row), int(column)))
        ious[row], ious[:, column] = -1, -1
    return pairs


def count_detections(true_boxes: np.ndarray, true_labels: np.ndarray, boxes: np.ndarray, labels: np.ndarray,
                     ignored: np.ndarray, classes: int, threshold: float) -> np.ndarray:
    """Confusion of one image: (classes + 1, classes + 1); the last row and column are the background.

    A detection and an object form a pair by their overlap alone, whatever their classes. An object without a pair was
    missed (last column), a detection without one is a false alarm (last row), unless at least half of its area lies in
    a box that evaluation ignores, a crowd for example.

    Args:
        true_boxes: (n, 4), x1, y1, x2, y2.
        true_labels: (n,).
        boxes: (m, 4) of the detections that count.
        labels: (m,).
        ignored: (k, 4) ignored boxes.
        classes: number of classes.
        threshold: IoU of a pair.
    """
    counts = np.zeros((classes + 1, classes + 1), np.int64)
    pairs = match(overlaps(true_boxes, boxes), threshold)
    for row, column in pairs:
        counts[true_labels[row], labels[column]] += 1
    missed = np.delete(true_labels, [row for row, _ in pairs])
    left = np.delete(np.arange(len(boxes)), [column for _, column in pairs])
    excused = inside(boxes[left], ignored) >= 0.5
    np.add.at(counts, (missed, classes), 1)
    np.add.at(counts, (classes, labels[left[~excused]]), 1)
    return counts


def inside(boxes: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Largest share of each box's area that lies in one of `ignored`: (m,)."""
    if not len(ignored):
        return np.zeros(len(boxes))
    low = np.maximum(boxes[:, None, :2], ignored[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], ignored[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(-1).max(1)
    return common / np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(-1), 1e-9)


def count_pixels(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Confusion (classes, classes) of two label images of one shape; true labels beyond the classes do not count."""
    known = (truth >= 0) & (truth < classes)
    pairs = truth[known].astype(np.int64) * classes + predicted[known]
    return np.bincount(pairs, minlength=classes ** 2).reshape(classes, classes)
