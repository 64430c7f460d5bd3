"""Neighbour search and sampling: ball query (PointGroup, arXiv 2004.01658), furthest point sampling and interpolation
from three neighbours (PointNet++, arXiv 1706.02413). mmcv has CUDA kernels alone for these; here they run anywhere."""

import numpy as np
import torch
from scipy.spatial import cKDTree

from .clustering import as_numpy_ids, as_numpy_points, check_radius, within

PAIRS_AT_ONCE = 1 << 21
SAMPLE = 64
"""Points from which the neighbours of a part of the cloud are estimated."""


def ball_query(points, radius, batch=None, max_neighbours=1000):
    """Neighbours of each point among the points of its batch item.

    Args:
        points (Tensor): (N, 3), floating point, on any device; computed on the CPU, in float64 if given so, else in
            float32.
        radius (float): in the unit of the points; a neighbour has d^2 < radius^2, strictly.
        batch (Tensor, optional): (N,) integers. Default: one batch item.
        max_neighbours (int): the first that many by index are kept. 1000 in PointGroup.

    Returns:
        tuple[Tensor, Tensor]: neighbours of all points, one after the other, (P,) int64, each point's own in rising
        order and itself among them; and (N, 2) int64, where each point's begin and how many they are.

    Raises:
        ValueError: shapes, types or numbers that do not fit, or coordinates that are not finite.
    """
    radius = check_radius(radius, 'ball_query')
    array = as_numpy_points(points, 'ball_query')
    batch = as_numpy_ids(batch, len(array), 'ball_query: batch')
    if max_neighbours < 1:
        raise ValueError(f'ball_query: max_neighbours={max_neighbours!r}, expected at least 1')
    keys, counts = [np.zeros(0, np.int64)], np.zeros(len(array), np.int64)
    for item in np.unique(batch):
        members = np.flatnonzero(batch == item)
        for rows, neighbours in _balls(array[members], radius):
            number = np.bincount(rows, minlength=len(members))
            nth = np.arange(len(rows)) - (number.cumsum() - number)[rows]
            kept = nth < max_neighbours
            counts[members] += np.minimum(number, max_neighbours)
            keys.append(members[rows[kept]] * len(array) + members[neighbours[kept]])
    found = torch.from_numpy(np.concatenate(keys)).sort()[0].remainder(max(len(array), 1))
    start_length = torch.from_numpy(np.stack([counts.cumsum() - counts, counts], 1))
    return found.to(points.device), start_length.to(points.device)


def _balls(array, radius):
    """Yields arrays (point, neighbour), sorted by both, for some of the points at a time."""
    reach = radius * (1 + 1e-5)  # a little more than needed; `within` decides
    wide = array.astype(np.float64)
    tree = cKDTree(wide)
    waiting = [np.arange(len(array))]
    while waiting:
        own = waiting.pop()
        some = wide[own[::len(own) // SAMPLE + 1]]
        if tree.query_ball_point(some, reach, return_length=True).mean() * len(own) > PAIRS_AT_ONCE and len(own) > 1:
            waiting += np.array_split(own, 2)
            continue
        near = cKDTree(wide[own]).sparse_distance_matrix(tree, reach, output_type='ndarray')
        rows, neighbours = own[near['i']], near['j'].astype(np.int64)
        close = within(array[rows].T, array[neighbours].T, radius)
        keys = torch.from_numpy(rows[close] * len(array) + neighbours[close]).sort()[0].numpy()
        yield keys // len(array), keys % len(array)


def _check_clouds(points, name):
    if points.dim() != 3 or points.shape[2] != 3 or not points.is_floating_point():
        raise ValueError(f'{name} of shape {tuple(points.shape)} and {points.dtype}, expected (B, N, 3) of a '
                         'floating-point type')


@torch.no_grad()
def furthest_point_sample(points, num_points):
    """Points chosen one after the other, each the furthest from those chosen before, beginning with point 0.

    Args:
        points (Tensor): (B, N, 3), floating point, on any device.
        num_points (int): S, from 1 to N.

    Returns:
        Tensor: (B, S) int64. Of points equally far the lowest index is taken.

    Raises:
        ValueError: another shape or type, or a number of points that is not there.
    """
    _check_clouds(points, 'furthest_point_sample: points')
    batch, count = points.shape[:2]
    if not 1 <= num_points <= count:
        raise ValueError(f'furthest_point_sample: num_points={num_points!r}, expected 1 to {count}, the points of a '
                         'cloud')
    axes = points.permute(2, 0, 1).contiguous()
    nearest = points.new_full((batch, count), float('inf'))  # squared distance to the chosen points
    distance, difference = torch.empty_like(nearest), torch.empty_like(nearest)
    chosen = torch.zeros(batch, num_points, dtype=torch.int64, device=points.device)
    last = chosen[:, :1]
    for step in range(1, num_points):
        for axis, values in enumerate(axes):
            torch.sub(values, values.gather(1, last), out=difference)
            if axis == 0:
                torch.mul(difference, difference, out=distance)
            else:
                distance.addcmul_(difference, difference)
        torch.minimum(nearest, distance, out=nearest)
        last = nearest.argmax(1, keepdim=True)
        chosen[:, step:step + 1] = last
    return chosen


@torch.no_grad()
def three_nn(target, source):
    """The three nearest source points of each target point.

    Args:
        target (Tensor): (B, N, 3), floating point, on any device.
        source (Tensor): (B, M, 3), M at least 3.

    Returns:
        tuple[Tensor, Tensor]: distances (B, N, 3), rising (not squared), and indices (B, N, 3) int64. No gradients.

    Raises:
        ValueError: shapes or types that do not fit, or fewer than three source points.
    """
    _check_clouds(target, 'three_nn: target')
    _check_clouds(source, 'three_nn: source')
    if len(source) != len(target) or source.shape[1] < 3:
        raise ValueError(f'three_nn: target {tuple(target.shape)} and source {tuple(source.shape)}, expected the same '
                         'batch size and at least 3 source points')
    indices = [_nearest_on_cpu(*pair) if target.device.type == 'cpu' else _nearest_directly(*pair)
               for pair in zip(target, source, strict=True)]
    indices = torch.stack(indices)
    found = source.gather(1, indices.flatten(1)[..., None].expand(-1, -1, 3)).view(*indices.shape, 3)
    return (target[:, :, None] - found).pow(2).sum(-1).sqrt(), indices


def _nearest_on_cpu(target, source):
    tree = cKDTree(source.double().numpy())
    return torch.from_numpy(tree.query(target.double().numpy(), k=3)[1].astype(np.int64, copy=False)).view(-1, 3)


def _nearest_directly(target, source):
    """All distances, some rows at a time; differences first, because products cancel."""
    rows = max(1, (1 << 24) // len(source))
    parts = [(part[:, None] - source).pow(2).sum(-1).topk(3, largest=False)[1] for part in target.split(rows)]
    return torch.cat(parts)


def three_interpolate(features, indices, weight):
    """Weighted mean of three points' features.

    Args:
        features (Tensor): (B, C, M), of the source points.
        indices (Tensor): (B, N, 3) integers, of :func:`three_nn`.
        weight (Tensor): (B, N, 3), usually inverse distances that sum to one.

    Returns:
        Tensor: (B, C, N), differentiable in features and weight.

    Raises:
        ValueError: shapes that do not fit.
    """
    if features.dim() != 3 or indices.shape != weight.shape or indices.shape[::2] != (len(features), 3):
        raise ValueError(f'three_interpolate: features {tuple(features.shape)}, indices {tuple(indices.shape)} and '
                         f'weight {tuple(weight.shape)}, expected (B, C, M), (B, N, 3) and (B, N, 3)')
    channels = features.shape[1]
    picked = [features.gather(2, column[:, None].expand(-1, channels, -1)) for column in indices.long().unbind(2)]
    return sum(values * column[:, None] for values, column in zip(picked, weight.unbind(2), strict=True))
