"""Connected components of a point cloud: points of one batch item and one label, linked below a radius.

As sets of points this is the clustering of PointGroup (arXiv 2004.01658) without its cap of 1000 neighbours. There,
neighbour lists come first; with concentrated votes they hold thousands of entries for each point. Here no list is made:

1. Points are hashed into cubes whose diagonal is a little under the radius. The points of a cube are one component.
2. Cubes that touch are linked if their first points are close, then cubes at a distance of two.
3. What is still apart and has bounding boxes closer than the radius is compared point by point, by a k-d tree where
   that would be too many pairs. Few cubes come that far: those at the rim of a component.

The result is exact: two points are linked if d^2 < r^2 in the precision of the points, the same test as `ball_query`.
Cost: one sort of the points, and some searches in the sorted cubes.
"""

import numpy as np
import torch
from scipy.sparse import coo_matrix, csgraph
from scipy.spatial import cKDTree

SHRINK = 1e-4
"""Cubes are smaller than radius / sqrt(3) by this part, so that rounding cannot part the points of a cube."""
REACH = 2
"""Cubes further apart than this along an axis are at least two sides, 1.15 radii, from each other."""
PAIRS_AT_ONCE = 1 << 20
TREE_FROM = 1 << 14
"""Point pairs of two cubes from which a k-d tree is faster than all of them."""


def as_numpy_points(points, name):
    """Points (N, 3) as a float32 or float64 array.

    Raises:
        ValueError: another shape or type, or coordinates that are not finite.
    """
    if points.dim() != 2 or points.shape[1] != 3 or not points.is_floating_point():
        raise ValueError(f'{name}: points of shape {tuple(points.shape)} and {points.dtype}, expected (N, 3) of a '
                         'floating-point type')
    dtype = torch.float64 if points.dtype == torch.float64 else torch.float32
    array = points.detach().to('cpu', dtype).numpy()
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).all(1))[0])
        raise ValueError(f'{name}: point {row} is {array[row].tolist()}, expected finite coordinates; training may '
                         'have diverged')
    return array


def as_numpy_ids(ids, count, name):
    """Integer ids (N,) as an int64 array; None is all zeros.

    Raises:
        ValueError: another shape, or no integers.
    """
    if ids is None:
        return np.zeros(count, np.int64)
    if ids.shape != (count,) or ids.is_floating_point():
        raise ValueError(f'{name} of shape {tuple(ids.shape)} and {ids.dtype}, expected ({count},) integers, one for '
                         'each point')
    return ids.detach().cpu().long().numpy()


def check_radius(radius, name):
    """The radius as a float.

    Raises:
        ValueError: not positive and finite.
    """
    if not 0 < radius < float('inf'):
        raise ValueError(f'{name}: radius={radius!r}, expected a positive number, in the unit of the points')
    return float(radius)


def within(first, second, radius):
    """Whether points of two arrays (3, P) lie closer than the radius; in the arrays' precision, strictly."""
    total = np.zeros(first.shape[1], first.dtype)
    for a, b in zip(first, second, strict=True):
        difference = a - b
        total += difference * difference
    return total < first.dtype.type(radius) ** 2


def _cell_keys(axes, groups, side):
    """A number for each point's cube and the steps along (x, y, z); cubes of two groups are never near each other."""
    columns = [groups]
    for axis in axes.astype(np.float64):
        axis /= side
        np.floor(axis, out=axis)
        # differences are exact up to 2^53; beyond, one point very far away would swallow the places of the others
        low, high = axis.min(), axis.max()
        columns.append((axis - low).astype(np.int64) if high - low < 2 ** 53 else _squeezed(axis))
    if _total(columns) >= 2 ** 62:
        columns = [_squeezed(column) for column in columns]
        if _total(columns) >= 2 ** 62:
            raise ValueError('connected_components: points are spread over more than 2^62 cubes of side '
                             f'{side:.3g}; expected coordinates in the unit of the radius')
    group, x, y, z = columns
    size = [_count(column) + 2 * REACH for column in (x, y, z)]
    steps = np.array([size[1] * size[2], size[2], 1])
    keys = ((group * size[0] + x + REACH) * size[1] + y + REACH) * size[2] + z + REACH
    return keys, steps


def _count(column):
    return int(column.max()) + 1


def _total(columns):
    group, *axes = (_count(column) for column in columns)
    for size in axes:
        group *= size + 2 * REACH
    return group


def _squeezed(column):
    """The same order and neighbourhoods with all wider gaps closed, for a few points very far away."""
    values, inverse = np.unique(column, return_inverse=True)
    gaps = np.minimum(np.diff(values), REACH + 1).astype(np.int64)
    return np.concatenate([[0], gaps.cumsum()])[inverse]


def _near_cells(cells, steps, reach, keep):
    """Pairs (a, b) of occupied cubes at most `reach` apart along each axis, each pair once.

    `cells` are sorted keys; `keep(a, b)` says which pairs to return.
    """
    own = np.arange(len(cells))
    beyond = np.append(cells, [np.iinfo(np.int64).max] * (2 * reach + 1))
    firsts, seconds = [], []
    for x in range(reach + 1):
        for y in range(-reach if x else 0, reach + 1):
            # along z the wanted keys follow each other, and so do the cubes that have them: one search for all
            low = -reach if x or y else 1
            wanted = cells + (x * steps[0] + y * steps[1] + low * steps[2])
            place = np.searchsorted(cells, wanted) if x or y else own + 1
            for z in range(low, reach + 1):
                hit = beyond[place] == wanted + (z - low)
                first, second = own[hit], place[hit]
                chosen = keep(first, second)
                firsts.append(first[chosen])
                seconds.append(second[chosen])
                place = place + hit
    return np.concatenate(firsts), np.concatenate(seconds)


class _Cells:
    """Points sorted by cube, and the component of each cube.

    Attributes:
        points (ndarray): (3, N), sorted.
        starts (ndarray): (C + 1,), where each cube begins.
        labels (ndarray): (C,), components found so far.
    """

    def __init__(self, array, groups, radius):
        self.radius = radius
        axes = np.ascontiguousarray(array.T)
        keys, self.steps = _cell_keys(axes, groups, radius / 3 ** 0.5 * (1 - SHRINK))
        keys, self.order = (x.numpy() for x in torch.from_numpy(keys).sort(stable=True))  # faster than NumPy's
        first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
        self.keys, self.starts = keys[first], np.append(first, len(keys))
        self.points = np.stack([axis.take(self.order) for axis in axes])
        self.labels = np.arange(len(self.keys))

    def link(self, first, second):
        """Join the components of cubes `first` and `second`, arrays of equal length."""
        if len(first):
            count = int(self.labels.max()) + 1
            graph = coo_matrix((np.ones(len(first), np.int8), (self.labels[first], self.labels[second])),
                               shape=(count, count))
            self.labels = csgraph.connected_components(graph, directed=False)[1][self.labels]

    def link_by_first_points(self, reach):
        """Link cubes whose first points are close; returns the pairs that are not in one component afterwards."""
        first, second = _near_cells(self.keys, self.steps, reach, lambda a, b: self.labels[a] != self.labels[b])
        at = self.points[:, self.starts[:-1]]
        close = within(at[:, first], at[:, second], self.radius)
        self.link(first[close], second[close])
        return self.apart(first, second)

    def apart(self, first, second):
        """Those of the pairs that are not in one component."""
        differ = self.labels[first] != self.labels[second]
        return first[differ], second[differ]

    def boxes_near(self, first, second):
        """Those of the pairs whose bounding boxes are closer than the radius."""
        low = np.minimum.reduceat(self.points, self.starts[:-1], axis=1)
        high = np.maximum.reduceat(self.points, self.starts[:-1], axis=1)
        total = np.zeros(len(first))
        for a, b in zip(low, high, strict=True):
            gap = np.maximum(np.maximum(a[first] - b[second], a[second] - b[first]), 0)
            total += gap.astype(np.float64) ** 2
        near = total < (self.radius * (1 + 1e-5)) ** 2
        return first[near], second[near]

    def link_by_all_points(self, first, second):
        """Compare the cubes of each pair point by point, some pairs at a time, and link those with a close pair."""
        sizes = np.diff(self.starts)
        work = sizes[first] * sizes[second]
        large = work >= TREE_FROM
        small = np.flatnonzero(~large)
        for part in np.split(small, np.flatnonzero(np.diff(work[small].cumsum() // PAIRS_AT_ONCE)) + 1):
            a, b = self.apart(first[part], second[part])
            self.link(*self._compare(a, b, sizes))
        for a, b in zip(first[large], second[large], strict=True):
            if self.labels[a] != self.labels[b] and self._tree_compare(a, b):
                self.link([a], [b])

    def _compare(self, first, second, sizes):
        work = sizes[first] * sizes[second]
        pair = np.repeat(np.arange(len(first)), work)
        nth = np.arange(len(pair)) - np.repeat(work.cumsum() - work, work)
        width = sizes[second][pair]
        one = self.starts[first][pair] + nth // width
        other = self.starts[second][pair] + nth % width
        hit = np.unique(pair[within(self.points[:, one], self.points[:, other], self.radius)])
        return first[hit], second[hit]

    def _tree_compare(self, first, second):
        """Whether two cubes have a close pair of points."""
        one, other = (self.points[:, self.starts[i]:self.starts[i + 1]] for i in (first, second))
        distance, nearest = cKDTree(one.T).query(other.T, distance_upper_bound=self.radius * (1 + 1e-5))
        found = np.isfinite(distance)
        if within(one[:, nearest[found]], other[:, found], self.radius).any():
            return True
        # the tree computes in double precision: at the very rim another point may pass the test in single precision
        return any(within(one, np.repeat(point[:, None], one.shape[1], 1), self.radius).any()
                   for point in other[:, found].T)

    def result(self):
        """Component of each point, in the points' own order, numbered by the lowest point index."""
        lowest = np.full(int(self.labels.max()) + 1, len(self.order))
        np.minimum.at(lowest, self.labels, self.order[self.starts[:-1]])  # the sort was stable
        number = np.empty(len(lowest), np.int64)
        number[lowest.argsort()] = np.arange(len(lowest))
        result = np.empty(len(self.order), np.int64)
        result[self.order] = np.repeat(number[self.labels], np.diff(self.starts))
        return result


def connected_components(points, radius, batch=None, labels=None):
    """Components of the graph that links points of the same batch item and label at a distance below the radius.

    Args:
        points (Tensor): (N, 3), floating point, on any device; computed on the CPU, in float64 if given so, else in
            float32. Gradients end here.
        radius (float): in the unit of the points; a pair is linked if d^2 < radius^2, strictly.
        batch (Tensor, optional): (N,) integers, batch item of each point. Default: all the same.
        labels (Tensor, optional): (N,) integers, for instance the predicted class. Default: all the same.

    Returns:
        Tensor: (N,) int64, number of each point's component, from 0, in the order of their lowest point; on the
        points' device. Every point has a component, if only of itself.

    Raises:
        ValueError: shapes, types or a radius that do not fit, or coordinates that are not finite.
    """
    radius = check_radius(radius, 'connected_components')
    array = as_numpy_points(points, 'connected_components')
    batch = as_numpy_ids(batch, len(array), 'connected_components: batch')
    labels = as_numpy_ids(labels, len(array), 'connected_components: labels')
    if not len(array):
        return torch.zeros(0, dtype=torch.int64, device=points.device)
    cells = _Cells(array, _groups(batch, labels), radius)
    cells.link_by_first_points(1)
    first, second = cells.link_by_first_points(REACH)
    cells.link_by_all_points(*cells.boxes_near(first, second))
    return torch.from_numpy(cells.result()).to(points.device)


def _groups(batch, labels):
    """One small number for each (batch item, label)."""
    batch, labels = batch - batch.min(), labels - labels.min()
    if _count(batch) * _count(labels) > 1 << 16:
        batch, labels = (np.unique(x, return_inverse=True)[1] for x in (batch, labels))
    return batch * _count(labels) + labels
