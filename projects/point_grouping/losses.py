"""Losses of a grouping model: semantics and offsets of points, scores and masks of proposals.

Semantics, offsets and scores are those of PointGroup's official code (arXiv 2004.01658), masks those of HAIS
(arXiv 2108.02350) with the normalisation of SoftGroup (arXiv 2203.01509), the dice term that of DyCo3D
(arXiv 2011.13328).
"""

import torch
import torch.nn.functional as F

from projects.points3d import segment_mean


def semantic_loss(logits, labels, ignore_index=-100):
    """Cross-entropy, mean over the points with a class; 0 if there are none.

    Args:
        logits (Tensor): (N, C).
        labels (Tensor): (N,) int64; `ignore_index` for none.

    Returns:
        Tensor: scalar.
    """
    total = F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction='sum')
    return total / (labels != ignore_index).sum().clamp(min=1)


def offset_targets(coords, instances, num_instances):
    """Vector from each point to the mean of its instance's points.

    Args:
        coords (Tensor): (N, 3), metres.
        instances (Tensor): (N,) int64, 0 to num_instances - 1 over the whole batch; negative for none.
        num_instances (int): G.

    Returns:
        tuple[Tensor, Tensor]: (N, 3), 0 where there is no instance; and (N,) bool, where there is one.
    """
    inside = instances >= 0
    targets = torch.zeros_like(coords)
    # single precision would do, but sums of 10^5 coordinates lose its last digits
    means = segment_mean(coords[inside].double(), instances[inside], num_instances)
    targets[inside] = (means[instances[inside]] - coords[inside]).to(coords.dtype)
    return targets, inside


def offset_losses(offsets, targets, inside):
    """L1 distance and direction, means over the points with an instance.

    Args:
        offsets (Tensor): (N, 3) predictions, metres.
        targets (Tensor): (N, 3).
        inside (Tensor): (N,) bool, which points count.

    Returns:
        tuple[Tensor, Tensor]: the L1 norm of the difference, in metres; and minus the cosine of the angle, -1 at best.
    """
    offsets, targets = offsets[inside], targets[inside]
    count = len(offsets) + 1e-6
    distance = (offsets - targets).abs().sum() / count
    directions = [x / (x.norm(dim=1, keepdim=True) + 1e-8) for x in (targets, offsets)]
    return distance, -(directions[0] * directions[1]).sum() / count


def score_loss(logits, targets):
    """Binary cross-entropy, mean over proposals; 0 if there are none.

    Args:
        logits (Tensor): (P,).
        targets (Tensor): (P,), 0 to 1.

    Returns:
        Tensor: scalar.
    """
    return F.binary_cross_entropy_with_logits(logits, targets, reduction='sum') / max(len(logits), 1)


def mask_loss(logits, labels):
    """Binary cross-entropy of the points of all proposals that have a target, over (their number + 1).

    Args:
        logits (Tensor): (S,).
        labels (Tensor): (S,) 1, 0, or -1 where ignored.

    Returns:
        Tensor: scalar.
    """
    valid = labels >= 0
    total = F.binary_cross_entropy_with_logits(logits[valid], labels[valid], reduction='sum')
    return total / (valid.sum() + 1)


def dice_loss(logits, labels):
    """1 - 2 sum(xy) / (sum x^2 + sum y^2 + 1e-5) over the points that :func:`mask_loss` counts; 0 if there are none.

    Args:
        logits, labels: see :func:`mask_loss`.

    Returns:
        Tensor: scalar.
    """
    valid = labels >= 0
    if not valid.any():
        return logits.sum() * 0
    x, y = logits[valid].sigmoid(), labels[valid]
    return 1 - 2 * (x * y).sum() / (x.square().sum() + y.square().sum() + 1e-5)
