"""Triton kernels of the 2D adder layer (arXiv 1912.13200) for GPUs, float32; the same two functions as ``reference``.

Both are blocked like a matrix product with another inner operation: a program holds a tile of channels x positions
in registers and walks over the window and the other channels; columns are never stored. Every element is summed in
one fixed order whatever the tile, without atomics: results are deterministic, also when tuning chooses otherwise.

A tile has four axes, (channels, positions) per thread x (channels, positions) over threads. Triton gives threads
the innermost axes, so one step needs A + B values from shared memory for A x B elements of arithmetic, all in
registers, and neighbouring threads hold neighbouring positions. In the machine code for sm_90 the forward loop has
2.3 instructions per |x - w| (subtraction, addition with |.|, the rest is overhead; 8 x 8 elements a thread), the input
gradient 3.9 with the HardTanh rule (subtraction, one minimum that keeps the sign, multiply-add; 4 x 8 elements) and
4.8 with the sign rule (two comparisons instead of the minimum).

Deviation: weights are copied once a call into the order in which the kernels read them.
"""

from __future__ import annotations

from itertools import product
from math import gcd
from typing import NamedTuple

import torch

from .reference import output_size

try:
    import triton
    import triton.language as tl
except ImportError as error:
    triton, _IMPORT_ERROR = None, str(error)

WIDE_FROM = 1 << 30  # elements of a tensor from which offsets are computed in 64 bits
LANES = 16           # packed weight rows are filled up to a multiple of this: aligned vector loads
GEOMETRY = ['size_class', 'positions', 'channels', 'height', 'width', 'filters', 'out_height', 'out_width']


class _Tile(NamedTuple):
    """Channels and positions per thread and over threads; the latter two multiply to 32 x warps."""

    channels: int
    positions: int
    channel_threads: int
    position_threads: int
    warps: int


FORWARD_TILES = [_Tile(8, 8, 8, 16, 4), _Tile(8, 8, 16, 16, 8), _Tile(8, 8, 16, 8, 4), _Tile(8, 4, 8, 16, 4),
                 _Tile(4, 4, 8, 16, 4)]
GRADIENT_TILES = [_Tile(4, 8, 8, 16, 4), _Tile(8, 4, 8, 16, 4), _Tile(8, 8, 8, 16, 4), _Tile(4, 4, 8, 16, 4),
                  _Tile(2, 4, 8, 16, 4)]


def _jit(*unspecialized):
    """``triton.jit`` without a variant per value of the named arguments; nothing where Triton is missing."""
    if triton is None:
        return lambda function: function
    return triton.jit(do_not_specialize=list(unspecialized))


@_jit()
def _grid_tile(PER_THREAD: tl.constexpr, THREADS: tl.constexpr, axis: tl.constexpr, INDEX: tl.constexpr):
    """Indices of this program's part of one axis, (PER_THREAD, THREADS)."""
    first = tl.program_id(axis).to(INDEX) * (PER_THREAD * THREADS)
    return first + tl.arange(0, PER_THREAD)[:, None] * THREADS + tl.arange(0, THREADS)[None, :]


@_jit()
def _next_tap(i, j, rows, columns):
    """The tap after (i, j), row by row, and whether the window starts again."""
    j += 1
    row_ends = j == columns
    j = tl.where(row_ends, 0, j)
    i = tl.where(row_ends, i + 1, i)
    window_ends = i == rows
    return tl.where(window_ends, 0, i), j, window_ends


@_jit()
def _all(condition, P: tl.constexpr, PT: tl.constexpr):
    """A single condition for every position; the interpreter cannot join one to a block."""
    return tl.full((P, PT), tl.where(condition, 1, 0), tl.int32) > 0


@_jit(*GEOMETRY, 'kernel_h', 'kernel_w', 'stride_h', 'stride_w', 'pad_h', 'pad_w', 'step_h', 'step_w')
def _forward_kernel(x_ptr, w_ptr, y_ptr, size_class, positions, channels, height, width, filters, out_height,
                    out_width, row_length, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, step_h, step_w,
                    BLOCK: tl.constexpr, TAIL: tl.constexpr, WIDE: tl.constexpr,
                    C: tl.constexpr, P: tl.constexpr, CT: tl.constexpr, PT: tl.constexpr):
    """y = -sum |x - w| with w as (channels / BLOCK, kernel_h, kernel_w, BLOCK, row_length).

    ``size_class`` is read by the tuner alone: image sizes that differ little share a tile.
    """
    INDEX: tl.constexpr = tl.int64 if WIDE else tl.int32
    p = _grid_tile(P, PT, 0, INDEX)
    t = _grid_tile(C, CT, 1, INDEX)
    plane, out_plane = height.to(INDEX) * width, out_height.to(INDEX) * out_width
    image, inner = p // out_plane, p % out_plane
    # rows of positions past the end lie above the image: their loads are masked like those of padding
    row = tl.where(p < positions, inner // out_width * stride_h - pad_h, -kernel_h * step_h)
    column = inner % out_width * stride_w - pad_w
    offset = image * channels * plane + row * width + column
    acc = tl.zeros((C, P, CT, PT), tl.float32)
    i, j, channel = 0, 0, 0
    for _ in tl.range(0, tl.cdiv(channels, BLOCK) * kernel_h * kernel_w, num_stages=3):
        y, x = row + i * step_h, column + j * step_w
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        tap_ptr = x_ptr + (i * step_h * width + j * step_w)
        for k in tl.static_range(BLOCK):
            mask = inside & _all(channel + k < channels, P, PT) if TAIL else inside
            value = tl.load(tap_ptr + k * plane + offset, mask=mask, other=0.0)
            weight = tl.load(w_ptr + k * row_length + t, mask=t < row_length, other=0.0)
            acc += tl.abs(value[None, :, None, :] - weight[:, None, :, None])
        w_ptr += BLOCK * row_length
        i, j, done = _next_tap(i, j, kernel_h, kernel_w)
        channel += tl.where(done, BLOCK, 0)
        x_ptr += tl.where(done, BLOCK * plane, 0)
    place = (image * filters * out_plane + inner)[None, :, None, :] + (t * out_plane)[:, None, :, None]
    tl.store(y_ptr + place, -acc, mask=(p < positions)[None, :, None, :] & (t < filters)[:, None, :, None])


@_jit(*GEOMETRY, 'taps_h', 'taps_w', 'first_h', 'first_w', 'stride_h', 'stride_w', 'offset_h', 'offset_w', 'step_h',
      'step_w', 'class_height', 'class_width')
def _gradient_kernel(g_ptr, w_ptr, x_ptr, dx_ptr, size_class, positions, channels, height, width, filters, out_height,
                     out_width, row_length, taps_h, taps_w, class_height, class_width, first_h, first_w, stride_h,
                     stride_w, offset_h, offset_w, step_h, step_w,
                     BLOCK: tl.constexpr, TAIL: tl.constexpr, WIDE: tl.constexpr, SIGN: tl.constexpr,
                     C: tl.constexpr, P: tl.constexpr, CT: tl.constexpr, PT: tl.constexpr):
    """dx of one residue class, with w as (filters / BLOCK, taps_h, taps_w, BLOCK, row_length).

    Position (u, v) of the class is input (first + u * stride); its tap i reads output row u + offset - i * step.
    """
    INDEX: tl.constexpr = tl.int64 if WIDE else tl.int32
    p = _grid_tile(P, PT, 0, INDEX)
    c = _grid_tile(C, CT, 1, INDEX)
    plane, out_plane = height.to(INDEX) * width, out_height.to(INDEX) * out_width
    class_plane = class_height.to(INDEX) * class_width
    image, inner = p // class_plane, p % class_plane
    u, v = inner // class_width, inner % class_width
    place = image * channels * plane + (first_h + u * stride_h) * width + first_w + v * stride_w
    place = place[None, :, None, :] + (c * plane)[:, None, :, None]
    held = (p < positions)[None, :, None, :] & (c < channels)[:, None, :, None]
    value = tl.load(x_ptr + place, mask=held, other=0.0)
    row, column = tl.where(p < positions, u + offset_h, -1), v + offset_w
    offset = image * filters * out_plane + row * out_width + column
    acc = tl.zeros((C, P, CT, PT), tl.float32)
    i, j, filter_ = 0, 0, 0
    for _ in tl.range(0, tl.cdiv(filters, BLOCK) * taps_h * taps_w, num_stages=3):
        y, x = row - i * step_h, column - j * step_w
        inside = (y >= 0) & (y < out_height) & (x >= 0) & (x < out_width)
        tap_ptr = g_ptr - (i * step_h * out_width + j * step_w)
        for k in tl.static_range(BLOCK):
            mask = inside & _all(filter_ + k < filters, P, PT) if TAIL else inside
            grad = tl.load(tap_ptr + k * out_plane + offset, mask=mask, other=0.0)[None, :, None, :]
            weight = tl.load(w_ptr + k * row_length + c, mask=c < row_length, other=0.0)[:, None, :, None]
            if SIGN:
                factor = (weight > value).to(tl.float32) - (weight < value).to(tl.float32)
            else:
                factor = tl.clamp(weight - value, -1.0, 1.0, propagate_nan=tl.PropagateNan.ALL)
            acc = tl.fma(factor, grad, acc)
        w_ptr += BLOCK * row_length
        i, j, done = _next_tap(i, j, taps_h, taps_w)
        filter_ += tl.where(done, BLOCK, 0)
        g_ptr += tl.where(done, BLOCK * out_plane, 0)
    tl.store(dx_ptr + place, acc, mask=held)


def _benchmark(call, quantiles):
    """Shorter than Triton's default: a network has dozens of layer shapes."""
    return triton.testing.do_bench(call, warmup=5, rep=20, quantiles=quantiles)


def _tuned(kernel, tiles):
    """The kernel with the fastest tile for each size of layer; the interpreter has nothing to measure."""
    configs = [triton.Config(dict(C=tile.channels, P=tile.positions, CT=tile.channel_threads,
                                  PT=tile.position_threads), num_warps=tile.warps)
               for tile in (tiles[:1] if INTERPRETED else tiles)]
    key = ['size_class', 'channels', 'filters', 'BLOCK']
    return triton.autotune(configs, key, do_bench=_benchmark)(kernel)


INTERPRETED = triton is not None and not isinstance(_forward_kernel, triton.JITFunction)  # TRITON_INTERPRET=1
if triton is not None:
    _forward_tuned = _tuned(_forward_kernel, FORWARD_TILES)
    _gradient_tuned = _tuned(_gradient_kernel, GRADIENT_TILES)


def why_missing():
    """Why the kernels cannot be used; empty where they can."""
    if triton is None:
        return f'Triton is not installed: {_IMPORT_ERROR}'
    if not INTERPRETED and not torch.cuda.is_available():
        return 'torch finds no CUDA device'
    return ''


def available():
    """Whether the kernels can be used: Triton and a GPU, or Triton's interpreter (TRITON_INTERPRET=1)."""
    return not why_missing()


def _checked(*tensors):
    """The tensors, contiguous."""
    reason = why_missing()
    if reason:
        raise ValueError(f"adder2d: backend='triton' cannot be used: {reason}; use 'auto' or 'reference'")
    for tensor in tensors:
        if tensor.dtype != torch.float32 or not (tensor.is_cuda or INTERPRETED) or tensor.device != tensors[0].device:
            raise ValueError("adder2d: backend='triton' takes float32 tensors on one CUDA device, got "
                             f"{', '.join(f'{t.dtype} on {t.device}' for t in tensors)}; use 'auto' or 'reference'")
    return [tensor.contiguous() for tensor in tensors]


def _packed(weight, block):
    """(depth, row, kH, kW) as contiguous (depth / block, kH, kW, block, row), zeros up to whole blocks and rows."""
    depth, row, kernel_h, kernel_w = weight.shape
    missing = -depth % block, -row % LANES
    if any(missing):
        weight = torch.nn.functional.pad(weight, (0, 0, 0, 0, 0, missing[1], 0, missing[0]))
    return weight.unflatten(0, (weight.shape[0] // block, block)).permute(0, 3, 4, 1, 2).contiguous()


def _launch(kernel, tensors, positions, rows, depth, sizes, geometry, **flags):
    """Runs a kernel over ``positions`` x ``rows`` channels, reducing over ``depth`` channels."""
    packed = tensors[1]
    wide = max(tensor.numel() for tensor in tensors) >= WIDE_FROM
    with torch.cuda.device_of(packed):
        kernel[lambda tile: (triton.cdiv(positions, tile['P'] * tile['PT']),
                             triton.cdiv(rows, tile['C'] * tile['CT']))](
            *tensors, positions.bit_length(), positions, *sizes, packed.shape[-1], *geometry,
            BLOCK=packed.shape[3], TAIL=depth % packed.shape[3] != 0, WIDE=wide, **flags, enable_fp_fusion=False)


def forward(input, weight, stride, padding, dilation):
    """See :func:`reference.forward`; float32 on a CUDA device.

    Raises:
        ValueError: kernels that cannot be used, or tensors of another kind or on different devices.
    """
    input, weight = _checked(input, weight)
    count, channels, height, width = input.shape
    filters, kernel = weight.shape[0], tuple(weight.shape[2:])
    out_height, out_width = output_size((height, width), kernel, stride, padding, dilation)
    output = input.new_empty(count, filters, out_height, out_width)
    if output.numel():
        packed = _packed(weight.transpose(0, 1), 8 if channels % 8 == 0 else 4)
        _launch(_forward_tuned, (input, packed, output), count * out_height * out_width, filters, channels,
                (channels, height, width, filters, out_height, out_width), (*kernel, *stride, *padding, *dilation))
    return output


class _Residue(NamedTuple):
    """Input rows (or columns) first + u * stride, and the taps that reach them.

    Tap m of ``taps`` connects u with output row u + offset - m * step: within a class the gradient is a dense
    problem of stride 1, without multiplications by inserted zeros.
    """

    first: int
    count: int
    taps: slice
    offset: int
    step: int


def _residues(size, kernel, stride, padding, dilation):
    """The residue classes modulo the stride that some window reaches."""
    period = stride // gcd(stride, dilation)  # taps of one class are this far apart
    for first in range(min(stride, size)):
        for tap in range(min(period, kernel)):
            if (first + padding - tap * dilation) % stride == 0:
                yield _Residue(first, -(-(size - first) // stride), slice(tap, None, period),
                               (first + padding - tap * dilation) // stride, period * dilation // stride)


def grad_input(grad_output, input, weight, stride, padding, dilation, sign):
    """See :func:`reference.grad_input`; float32 on a CUDA device.

    Raises:
        ValueError: kernels that cannot be used, or tensors of another kind or on different devices.
    """
    grad_output, input, weight = _checked(grad_output, input, weight)
    count, channels, height, width = input.shape
    filters, out_height, out_width = grad_output.shape[1:]
    if not grad_output.numel():
        return torch.zeros_like(input)
    result = torch.zeros_like(input) if max(stride) > 1 else torch.empty_like(input)  # else every position is written
    rows, columns = (list(_residues(*axis)) for axis in zip((height, width), weight.shape[2:], stride, padding,
                                                            dilation, strict=True))
    for row, column in product(rows, columns):
        packed = _packed(weight[:, :, row.taps, column.taps], 4)
        geometry = (*packed.shape[1:3], row.count, column.count, row.first, column.first, *stride, row.offset,
                    column.offset, row.step, column.step)
        _launch(_gradient_tuned, (grad_output, packed, input, result), count * row.count * column.count, channels,
                filters, (channels, height, width, filters, out_height, out_width), geometry, SIGN=sign)
    return result
