"""Rulebooks: which input voxel meets which output voxel at which position of a sparse convolution's kernel.

Sub-manifold convolutions: "3D Semantic Segmentation with Submanifold Sparse Convolutional Networks"
(arXiv 1711.10275). Own design, made for plain torch:

- A rulebook is a table (kernel positions, output rows) of input rows, -1 where the cell is empty. It has one entry at
  most for each place, in either direction, so both directions are computed without conflicting writes.
- Neighbours are found through a lookup table of the whole grid where it is small against the number of voxels, else by
  binary search among sorted cell numbers.
- A table is cut into tiles of output rows, so that the buffers of a tile stay in the cache (`gather_gemm.py`).

Shapes follow spconv 2: an output has floor((in + 2 padding - kernel) / stride) + 1 cells. With kernel 2, stride 2 and
an odd input, the last plane has no output.
"""

import math
from dataclasses import dataclass

import torch

CELLS_PER_VOXEL = 512
"""A lookup table of the grid is used up to this many cells for each voxel; beyond, its memory is not worth it."""
TILE_ROWS = dict(cpu=4096)
"""Output rows of a tile by device type."""
TILE_ROWS_ELSEWHERE = 1 << 18
"""Output rows of a tile on GPUs, where few large calls count and memory for 27 times as many rows is there."""


@dataclass
class Tile:
    """The products that make the output rows `start` to `stop`, by kernel position and then by row.

    Attributes:
        start, stop (int): output rows.
        counts (list[int]): products of each kernel position.
        sources (Tensor): (P,) int32, input row of each product.
        rows (Tensor): (P,) int32, its output row, counted from `start`.
        order (Tensor): (P,), the products sorted by output row.
        offsets (Tensor): (stop - start,), where each output row begins in `order`; of the type of `order`.
    """

    start: int
    stop: int
    counts: list
    sources: torch.Tensor
    rows: torch.Tensor
    order: torch.Tensor
    offsets: torch.Tensor


@dataclass
class Plan:
    """One direction of a rulebook.

    Attributes:
        tiles (list[Tile]): of all output rows.
        positions (list[int]): kernel position that each row of the tiles' tables belongs to.
        num_rows (int): output rows.
    """

    tiles: list
    positions: list
    num_rows: int


@dataclass
class Rulebook:
    """What the layers of one ``indice_key`` share.

    Attributes:
        kind (str): 'submanifold' or 'strided'.
        geometry (tuple): kernel size, stride and padding, each a tuple of three.
        forward, backward (Plan): from inputs to outputs, and for gradients and inverse convolutions.
        in_indices, out_indices (Tensor): (N, 4) and (M, 4) int32.
        in_shape, out_shape (tuple): cells along x, y, z.
    """

    kind: str
    geometry: tuple
    forward: Plan
    backward: Plan
    in_indices: torch.Tensor
    out_indices: torch.Tensor
    in_shape: tuple
    out_shape: tuple


def _cut(table):
    """Tiles of a table (K, n) int32 of input rows or -1."""
    size = TILE_ROWS.get(table.device.type, TILE_ROWS_ELSEWHERE)
    return [_tile(table[:, start:start + size], start) for start in range(0, table.shape[1], size)]


def _tile(table, start):
    width = table.shape[1]
    valid = table >= 0
    places = valid.view(-1).nonzero().squeeze(1)
    counts = valid.sum(1).tolist()
    per_row = valid.sum(0)
    rows = torch.arange(width, dtype=torch.int32, device=table.device).repeat(len(table)).index_select(0, places)
    sources = table.reshape(-1).index_select(0, places)
    return Tile(start, start + width, counts, sources, rows, rows.sort(stable=True)[1], per_row.cumsum(0) - per_row)


def _cell_numbers(indices, batch_size, shape, margin=(0, 0, 0)):
    """A number for each cell, (N,) int64, and what a step along x, y, z adds; a margin keeps steps from wrapping."""
    padded = [size + 2 * extra for size, extra in zip(shape, margin, strict=True)]
    total = batch_size * padded[0] * padded[1] * padded[2]
    if total >= 2 ** 62:
        raise ValueError(f'SparseTensor: spatial_shape={tuple(shape)} with batch_size={batch_size} has more cells than '
                         'can be numbered (2^62); crop the scene or take larger voxels')
    steps = padded[1] * padded[2], padded[2], 1
    batch, x, y, z = indices.long().unbind(1)
    numbers = ((batch * padded[0] + x + margin[0]) * padded[1] + y + margin[1]) * padded[2] + z + margin[2]
    return numbers, steps, total


def _duplicates():
    return ValueError('SparseTensor: indices name a cell twice; merge the points of a cell first '
                      '(projects.points3d.voxelize takes their mean)')


def _offsets(kernel):
    """All kernel positions in the order of the flattened kernel, the last axis fastest."""
    return [(x, y, z) for x in range(kernel[0]) for y in range(kernel[1]) for z in range(kernel[2])]


def _look_up(numbers, steps, total, kernel):
    """Neighbour table (K, N) through a table of the whole grid."""
    rows = torch.arange(len(numbers), dtype=torch.int32, device=numbers.device)
    grid = torch.full((total,), -1, dtype=torch.int32, device=numbers.device)
    grid[numbers] = rows
    if not torch.equal(grid[numbers], rows):
        raise _duplicates()
    table = torch.empty(len(_offsets(kernel)), len(numbers), dtype=torch.int32, device=numbers.device)
    for row, offset in zip(table, _offsets(kernel), strict=True):
        step = sum((o - k // 2) * s for o, k, s in zip(offset, kernel, steps, strict=True))
        torch.index_select(grid, 0, numbers + step, out=row)
    return table


def _search(numbers, steps, kernel):
    """The same by binary search: one search for each column of the kernel, then on to the next cells in z."""
    cells, rows = numbers.sort()
    if (cells[1:] == cells[:-1]).any():
        raise _duplicates()
    beyond = torch.cat([cells, cells.new_full((kernel[2],), 2 ** 62)])
    table = torch.full((len(_offsets(kernel)), len(cells)), -1, dtype=torch.int32, device=cells.device)
    for x in range(kernel[0]):
        for y in range(kernel[1]):
            wanted = cells + ((x - kernel[0] // 2) * steps[0] + (y - kernel[1] // 2) * steps[1] - kernel[2] // 2)
            place = torch.searchsorted(cells, wanted)
            for z in range(kernel[2]):
                hit = beyond[place] == wanted + z
                table[(x * kernel[1] + y) * kernel[2] + z, rows[hit]] = rows[place[hit]].int()
                place = place + hit
    return table


def submanifold(tensor, kernel):
    """Rulebook of a sub-manifold convolution: outputs are the input's voxels.

    Args:
        tensor (SparseTensor): the input.
        kernel (tuple[int, int, int]): odd sizes.

    Returns:
        Rulebook: its two directions share their tiles, since the neighbour at -d of the neighbour at d is the voxel.

    Raises:
        ValueError: cells that stand twice, or grids with more than 2^62 cells.
    """
    numbers, steps, total = _cell_numbers(tensor.indices, tensor.batch_size, tensor.spatial_shape,
                                          [k // 2 for k in kernel])
    if total <= CELLS_PER_VOXEL * len(numbers):
        table = _look_up(numbers, steps, total, kernel)
    else:
        table = _search(numbers, steps, kernel)
    tiles, positions = _cut(table), list(range(len(table)))
    geometry = kernel, (1, 1, 1), tuple(k // 2 for k in kernel)
    return Rulebook('submanifold', geometry, Plan(tiles, positions, len(numbers)),
                    Plan(tiles, positions[::-1], len(numbers)), tensor.indices, tensor.indices,
                    tensor.spatial_shape, tensor.spatial_shape)


def strided(tensor, kernel, stride, padding):
    """Rulebook of a strided convolution: outputs are all cells that an input voxel reaches, sorted by cell.

    Args:
        tensor (SparseTensor): the input.
        kernel, stride, padding (tuple[int, int, int]): as of a convolution.

    Returns:
        Rulebook: the outputs' order is [batch item, x, y, z], rising.

    Raises:
        ValueError: a kernel larger than the padded grid, or grids with more than 2^62 cells.
    """
    out_shape = tuple((n + 2 * p - k) // s + 1
                      for n, k, s, p in zip(tensor.spatial_shape, kernel, stride, padding, strict=True))
    if min(out_shape) < 1:
        raise ValueError(f'SparseConv3d: kernel_size={kernel} is larger than spatial_shape={tensor.spatial_shape} '
                         f'padded by {padding}; use fewer strided levels or a larger spatial_shape')
    cells, rows, positions = _reached(tensor, kernel, stride, padding, out_shape)
    cells, outputs = cells.unique(return_inverse=True)
    volume = len(_offsets(kernel))
    forward = torch.full((volume, len(cells)), -1, dtype=torch.int32, device=cells.device)
    forward[positions, outputs] = rows.int()
    backward = torch.full((volume, len(tensor.indices)), -1, dtype=torch.int32, device=cells.device)
    backward[positions, rows] = outputs.int()
    return Rulebook('strided', (kernel, stride, padding), _plan(forward), _plan(backward), tensor.indices,
                    _indices(cells, out_shape), tensor.spatial_shape, out_shape)


def _reached(tensor, kernel, stride, padding, out_shape):
    """Output cell, input row and kernel position of every product, int64."""
    _cell_numbers(tensor.indices[:0], tensor.batch_size, out_shape)  # only for its check of the size
    batch, *coords = tensor.indices.unbind(1)
    parts, fits = [], []  # what each axis adds to the cell's number, and whether it hits a cell: (kernel, N)
    for axis, (coord, k, s, p) in enumerate(zip(coords, kernel, stride, padding, strict=True)):
        places = coord + p - torch.arange(k, dtype=torch.int32, device=coord.device)[:, None]
        quotient = places.div(s, rounding_mode='floor')
        fits.append((quotient * s == places) & (quotient >= 0) & (quotient < out_shape[axis]))
        parts.append(quotient.long() * math.prod(out_shape[axis + 1:]))
    parts[0] += batch * math.prod(out_shape)
    cells, rows, positions = [], [], []
    for position, places in enumerate(_offsets(kernel)):
        hit = (fits[0][places[0]] & fits[1][places[1]] & fits[2][places[2]]).nonzero().squeeze(1)
        cells.append(sum(part[place].index_select(0, hit) for part, place in zip(parts, places, strict=True)))
        rows.append(hit)
        positions.append(torch.full_like(hit, position))
    return torch.cat(cells), torch.cat(rows), torch.cat(positions)


def _plan(table):
    return Plan(_cut(table), list(range(len(table))), table.shape[1])


def _indices(cells, shape):
    """Rows [batch item, x, y, z], int32, of cell numbers."""
    columns = []
    for size in reversed(shape):
        columns.append(cells.remainder(size))
        cells = cells.div(size, rounding_mode='floor')
    return torch.stack([cells, *reversed(columns)], 1).int()
