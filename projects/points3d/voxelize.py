"""Points to voxels and back, as in PointGroup (arXiv 2004.01658, mode 4 of its `voxelization`): a voxel's feature is
the mean of its points' features, voxels stand in the order in which their first points do, and a point takes its
voxel's feature back."""

from typing import NamedTuple

import torch

from .segments import segment_mean


class Voxels(NamedTuple):
    """Occupied voxels of a batch of point clouds.

    Attributes:
        indices (Tensor): (M, 4) [batch item, x, y, z], of the type of the coordinates.
        features (Tensor): (M, C), mean over the points, differentiable; None if no features were given.
        point_to_voxel (Tensor): (N,) int64, row of each point's voxel. `features[point_to_voxel]` gathers back.
        counts (Tensor): (M,) int64, points of each voxel.
    """

    indices: torch.Tensor
    features: torch.Tensor
    point_to_voxel: torch.Tensor
    counts: torch.Tensor


def voxelize(coords, features=None):
    """Merge points of the same integer coordinates.

    Args:
        coords (Tensor): (N, 4) integers [batch item, x, y, z]; x, y, z may be negative here.
        features (Tensor, optional): (N, C), floating point.

    Returns:
        Voxels: in the order of first appearance.

    Raises:
        ValueError: shapes or types that do not fit, or a span of coordinates that cannot be numbered (2^62 cells).
    """
    if coords.dim() != 2 or coords.shape[1] != 4 or coords.is_floating_point() or coords.dtype == torch.bool:
        raise ValueError(f'voxelize: coords of shape {tuple(coords.shape)} and {coords.dtype}, expected (N, 4) '
                         'integers [batch item, x, y, z]')
    if features is not None and len(features) != len(coords):
        raise ValueError(f'voxelize: {len(features)} rows of features for {len(coords)} points')
    keys = _keys(coords)
    distinct, inverse, counts = keys.unique(return_inverse=True, return_counts=True)
    rows = torch.arange(len(keys), device=keys.device)
    first = torch.full_like(distinct, len(keys)).scatter_reduce(0, inverse, rows, 'amin')
    first, order = first.sort()
    rank = torch.empty_like(order)
    rank[order] = rows[:len(order)]
    point_to_voxel = rank[inverse]
    mean = None if features is None else segment_mean(features, point_to_voxel, len(first))
    return Voxels(coords[first], mean, point_to_voxel, counts[order])


def _keys(coords):
    """One int64 for each distinct row."""
    coords = coords.long()
    if not len(coords):
        return coords[:, 0]
    coords = coords - coords.amin(0)
    sizes = [size + 1 for size in coords.amax(0).tolist()]
    if sizes[0] * sizes[1] * sizes[2] * sizes[3] >= 2 ** 62:
        raise ValueError(f'voxelize: coordinates span {sizes} cells [batch item, x, y, z], which cannot be numbered '
                         '(2^62); remove points that lie very far away')
    batch, x, y, z = coords.unbind(1)
    return ((batch * sizes[1] + x) * sizes[2] + y) * sizes[3] + z
