"""Operators of PointNet++ (arXiv 1706.02413) on clouds of one size: gathering, and balls with a fixed number of
neighbours. mmcv has CUDA kernels alone for these; here they run on CPU and GPU. Sampling and interpolation, which
PointNet++ needs as well, are in ``neighbours``."""

import numpy as np
import torch
from scipy.spatial import cKDTree

from .neighbours import _check_clouds

PAIRS_AT_ONCE = 1 << 26
"""Distances that a GPU computes at a time: half a gigabyte of its memory."""


def gather_points(features, index):
    """Columns of features.

    Args:
        features (Tensor): (B, C, N).
        index (Tensor): (B, M) integers.

    Returns:
        Tensor: (B, C, M), differentiable in the features.
    """
    return features.gather(2, index.long()[:, None].expand(-1, features.shape[1], -1))


def group_points(features, index):
    """Features of each ball's points.

    Args:
        features (Tensor): (B, C, N).
        index (Tensor): (B, M, S) integers, of :func:`ball_query_padded`.

    Returns:
        Tensor: (B, C, M, S), differentiable in the features.
    """
    return gather_points(features, index.flatten(1)).unflatten(2, index.shape[1:])


@torch.no_grad()
def ball_query_padded(points, centres, radius, num_neighbours, min_radius=0.):
    """The first neighbours by index in a ball around each centre, always as many.

    A point belongs to a ball if d = 0 or min_radius <= d < radius. Balls with fewer points repeat their first one;
    an empty ball takes point 0 throughout, as mmcv's kernel does.

    Args:
        points (Tensor): (B, N, 3), floating point, on any device.
        centres (Tensor): (B, M, 3).
        radius (float): in the unit of the points.
        num_neighbours (int): S, at least 1.
        min_radius (float): from 0 to radius.

    Returns:
        Tensor: (B, M, S) int64.

    Raises:
        ValueError: shapes, types or numbers that do not fit.
    """
    _check_clouds(points, 'ball_query_padded: points')
    _check_clouds(centres, 'ball_query_padded: centres')
    if len(points) != len(centres):
        raise ValueError(f'ball_query_padded: points {tuple(points.shape)} and centres {tuple(centres.shape)}, '
                         'expected the same batch size')
    if not 0 <= min_radius < radius or num_neighbours < 1:
        raise ValueError(f'ball_query_padded: radius={radius!r}, min_radius={min_radius!r}, num_neighbours='
                         f'{num_neighbours!r}, expected 0 <= min_radius < radius and at least one neighbour')
    balls = [_padded(*_pairs(own, around, radius, min_radius), len(around), num_neighbours)
             for own, around in zip(points, centres, strict=True)]
    return torch.stack(balls)


def _pairs(points, centres, radius, min_radius):
    """Centres and points that belong together, by centre and then by point: two tensors of int64."""
    if points.device.type == 'cpu':
        row, column = _near_on_cpu(points, centres, radius)
        squared = (points[column] - centres[row]).pow(2).sum(1)
        hits = _belongs(squared, radius, min_radius)
        return row[hits], column[hits]
    step, found = max(1, PAIRS_AT_ONCE // len(points)), []
    for start in range(0, len(centres), step):  # differences first, because products cancel
        squared = (points - centres[start:start + step, None]).pow(2).sum(2)
        row, column = _belongs(squared, radius, min_radius).nonzero(as_tuple=True)
        found.append((row + start, column))
    return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


def _near_on_cpu(points, centres, radius):
    """A few pairs too many, in the order of ``_pairs``: a tree searches in float64, the caller decides in its type."""
    trees = [cKDTree(cloud.double().numpy()) for cloud in (centres, points)]
    near = trees[0].sparse_distance_matrix(trees[1], radius * (1 + 1e-5), output_type='ndarray')
    keys = np.sort(near['i'] * len(points) + near['j'])
    return torch.from_numpy(keys // len(points)), torch.from_numpy(keys % len(points))


def _belongs(squared, radius, min_radius):
    hits = squared < radius ** 2
    return hits & ((squared >= min_radius ** 2) | (squared == 0)) if min_radius else hits


def _padded(row, column, num_centres, num_neighbours):
    """(num_centres, S) of pairs in the order of ``_pairs``."""
    count = row.bincount(minlength=num_centres)
    rank = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
    kept = rank < num_neighbours
    found = column.new_full((num_centres, num_neighbours), -1)
    found[row[kept], rank[kept]] = column[kept]
    return torch.where(found < 0, found[:, :1].clamp(min=0), found)
