"""Recall of proposals by the greedy matching of mmdet's `eval_recalls`, for images with any numbers of boxes.

mmdet 3.3 stacks the overlaps of all images into one array, which numpy 1.24 and later refuse unless every image has as
many objects and proposals as the first.
"""

from collections.abc import Sequence

import numpy as np
from mmdet.evaluation import bbox_overlaps


def matched_overlaps(truth: np.ndarray, proposals: np.ndarray) -> np.ndarray:
    """IoU of every object with the proposal it is matched to: the highest first, each proposal and object once.

    Args:
        truth: (n, 4), x1, y1, x2, y2.
        proposals: (m, 4), alike.

    Returns:
        (n,) in the order of matching, 0 for objects that find none.
    """
    found = np.zeros(len(truth))
    if not len(truth) or not len(proposals):
        return found
    overlaps = bbox_overlaps(truth.astype(np.float32), proposals)
    for index in range(min(overlaps.shape)):
        row, column = np.unravel_index(overlaps.argmax(), overlaps.shape)
        found[index] = overlaps[row, column]
        overlaps[row], overlaps[:, column] = -1, -1
    return found


def average_recalls(truths: Sequence[np.ndarray], proposals: Sequence[np.ndarray], numbers: Sequence[int],
                    thresholds: np.ndarray) -> np.ndarray:
    """Recall among the first `numbers` proposals of every image, mean over IoU thresholds.

    Args:
        truths: of each image (n, 4), x1, y1, x2, y2.
        proposals: of each image (m, 4), the best first.
        numbers: how many proposals count.
        thresholds: (t,) IoU.

    Returns:
        (len(numbers),); nan without any object.
    """
    recalls = []
    for number in numbers:
        pairs = zip(truths, proposals, strict=True)
        overlaps = np.concatenate([matched_overlaps(truth, boxes[:number]) for truth, boxes in pairs])
        hits = overlaps.astype(np.float32)[:, None] >= np.asarray(thresholds, np.float32)
        recalls.append(hits.mean() if hits.size else np.nan)
    return np.array(recalls)
