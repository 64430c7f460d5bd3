"""Reductions of rows that belong to segments: voxels, clusters, proposals.

Segment ids may stand in any order, and a segment may be empty: its result is 0 and its arg-max -1.
"""

import torch


def _check(values, segments, num_segments, name):
    if values.dim() != 2 or not values.is_floating_point():
        raise ValueError(f'{name}: values of shape {tuple(values.shape)} and {values.dtype}, expected (S, C) of a '
                         'floating-point type')
    if segments.shape != values.shape[:1] or segments.is_floating_point():
        raise ValueError(f'{name}: segments of shape {tuple(segments.shape)} and {segments.dtype}, expected '
                         f'({len(values)},) integers')
    if len(segments):
        low, high = (int(x) for x in segments.aminmax())
        if low < 0 or high >= num_segments:
            raise ValueError(f'{name}: segments from {low} to {high}, expected 0 to num_segments - 1 = '
                             f'{num_segments - 1}')
    return segments.long()


def segment_sum(values, segments, num_segments):
    """Sum of the rows of each segment.

    Args:
        values (Tensor): (S, C), floating point.
        segments (Tensor): (S,) integers from 0 to num_segments - 1.
        num_segments (int): K.

    Returns:
        Tensor: (K, C), differentiable.

    Raises:
        ValueError: shapes, types or ids that do not fit.
    """
    segments = _check(values, segments, num_segments, 'segment_sum')
    return values.new_zeros(num_segments, values.shape[1]).index_add(0, segments, values)


def segment_mean(values, segments, num_segments):
    """Mean of the rows of each segment: (K, C), differentiable; see :func:`segment_sum`."""
    segments = _check(values, segments, num_segments, 'segment_mean')
    counts = torch.bincount(segments, minlength=num_segments).clamp(min=1)
    sums = values.new_zeros(num_segments, values.shape[1]).index_add(0, segments, values)
    return sums / counts.to(values.dtype)[:, None]


def segment_max(values, segments, num_segments):
    """Maximum of each segment and channel, and where it stands.

    Args:
        values, segments, num_segments: see :func:`segment_sum`.

    Returns:
        tuple[Tensor, Tensor]: maxima (K, C), differentiable, the whole gradient going to the first of equal maxima; and
        its rows in `values` (K, C), int64. NaN counts as the largest number.

    Raises:
        ValueError: shapes, types or ids that do not fit.
    """
    segments = _check(values, segments, num_segments, 'segment_max')
    if not len(values):
        shape = num_segments, values.shape[1]
        return values.new_zeros(shape), torch.full(shape, -1, dtype=torch.int64, device=values.device)
    where = segments[:, None].expand_as(values)
    with torch.no_grad():
        largest = values.new_zeros(num_segments, values.shape[1]).scatter_reduce(
            0, where, values, 'amax', include_self=False)
        reached = (values == largest[segments]) | values.isnan()
        rows = torch.arange(len(values), device=values.device)[:, None]
        candidates = torch.where(reached, rows, len(values))
        first = torch.full(largest.shape, len(values), device=values.device).scatter_reduce(
            0, where, candidates, 'amin')
    empty = first == len(values)
    maxima = values.gather(0, first.masked_fill(empty, 0)).masked_fill(empty, 0)
    return maxima, first.masked_fill(empty, -1)


def segment_min(values, segments, num_segments):
    """Minimum of each segment and channel, and its first row; see :func:`segment_max`."""
    minima, rows = segment_max(-values, segments, num_segments)
    return -minima, rows
