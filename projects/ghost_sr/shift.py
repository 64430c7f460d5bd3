"""The shift of GhostSR (arXiv 2101.08525): maps displaced by whole pixels, zero where they come from outside.

An offset (dy, dx) means `out(y, x) = in(y + dy, x + dx)`, which is the cross-correlation with a window that holds a
single 1 at row `dy`, column `dx`, counted from its centre. Everything here copies slices; nothing multiplies.
"""

import torch
from torch.autograd import Function
from torch.nn import functional as F


def windows(length, offset):
    """Slices (to, from) of an axis: where a shift by `offset` writes, and what it reads."""
    kept, to, start = max(length - abs(offset), 0), max(-offset, 0), max(offset, 0)
    return slice(to, to + kept), slice(start, start + kept)


def _write_shifted(out, maps, offset):
    (rows, from_rows), (columns, from_columns) = map(windows, maps.shape[-2:], offset)
    out[..., rows, columns] = maps[..., from_rows, from_columns]
    for border in (out[..., :rows.start, :], out[..., rows.stop:, :],
                   out[..., :columns.start], out[..., columns.stop:]):
        if border.numel():
            border.zero_()
    return out


def translate(maps, offset):
    """Shift maps (..., H, W) by `offset` = (dy, dx) pixels, zeros from outside."""
    return _write_shifted(torch.empty_like(maps), maps, offset)


def concat_shifted(intrinsic, sources, offsets):
    """Intrinsic maps and, behind them, shifted ones, in one buffer.

    Args:
        intrinsic (Tensor): (N, I, H, W).
        sources (Tensor): (N, G, H, W), the maps to shift.
        offsets (list[tuple[int, int]]): One offset for all `sources`, or one for each of the G.

    Returns:
        Tensor: (N, I + G, H, W), in the memory format of `intrinsic`.
    """
    n, kept, height, width = intrinsic.shape
    channels_last = intrinsic.is_contiguous(memory_format=torch.channels_last) and not intrinsic.is_contiguous()
    out = torch.empty(n, kept + sources.shape[1], height, width, dtype=intrinsic.dtype, device=intrinsic.device,
                      memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    out[:, :kept] = intrinsic
    if len(offsets) == 1:
        _write_shifted(out[:, kept:], sources, offsets[0])
        return out
    for offset in set(offsets):
        chosen = torch.tensor([i for i, other in enumerate(offsets) if other == offset], device=out.device)
        out[:, kept + chosen] = translate(sources.index_select(1, chosen), offset)
    return out


def add_shifted(base, intrinsic, sources, offset):
    """`base + concat_shifted(intrinsic, sources, [offset])`, without the buffer in between."""
    if torch.is_grad_enabled() and (base.requires_grad or intrinsic.requires_grad):  # out= has no gradient
        return base + concat_shifted(intrinsic, sources, [offset])
    kept = intrinsic.shape[1]
    out = torch.empty_like(base)
    torch.add(base[:, :kept], intrinsic, out=out[:, :kept])
    (rows, from_rows), (columns, from_columns) = map(windows, base.shape[-2:], offset)
    base, ghosts = base[:, kept:], out[:, kept:]
    torch.add(base[..., rows, columns], sources[..., from_rows, from_columns], out=ghosts[..., rows, columns])
    for border in ((..., slice(rows.start), slice(None)), (..., slice(rows.stop, None), slice(None)),
                   (..., slice(columns.start)), (..., slice(columns.stop, None))):
        if ghosts[border].numel():
            ghosts[border] = base[border]
    return out


def offset_products(first, second, reach):
    """Inner products of maps with shifted maps, for every offset up to `reach` pixels.

    Args:
        first, second (Tensor): (..., H, W).
        reach (int): Largest shift along an axis, in pixels.

    Returns:
        Tensor: (2 reach + 1, 2 reach + 1); the entry at (dy + reach, dx + reach) is the sum of
        `first * translate(second, (dy, dx))`, in float32 or float64.
    """
    dtype = torch.promote_types(first.dtype, torch.float32)
    # With a frame of zeros around every map, a shift in the plane is one along the flat buffer.
    first, second = (F.pad(t.to(dtype), [reach] * 4) for t in (first, second))
    stride = first.shape[-1]
    margin = reach * stride + reach
    first, second = first.flatten(), second.flatten()
    length = first.numel() - 2 * margin
    inner = first[margin:margin + length]
    span = range(-reach, reach + 1)
    products = [torch.dot(inner, second[margin + dy * stride + dx:][:length]) for dy in span for dx in span]
    return torch.stack(products).reshape(2 * reach + 1, 2 * reach + 1)


class ConcatShifted(Function):
    """:func:`concat_shifted` with one offset, and the gradient of the one-hot window that stands for it.

    `apply(intrinsic, sources, window, offset)`: `window`, (1, 1, k, k) or None, is not read; its gradient is that of
    the cross-correlation of `sources` with it, in all k x k places.
    """

    @staticmethod
    def forward(ctx, intrinsic, sources, window, offset):
        ctx.offset, ctx.kept = offset, intrinsic.shape[1]
        ctx.window_shape = None if window is None else window.shape
        ctx.save_for_backward(sources if ctx.needs_input_grad[2] else None)
        return concat_shifted(intrinsic, sources, [offset])

    @staticmethod
    def backward(ctx, grad):
        grad_sources = grad_window = None
        ghosts = grad[:, ctx.kept:]
        if ctx.needs_input_grad[1]:
            grad_sources = translate(ghosts, [-o for o in ctx.offset])
        if ctx.needs_input_grad[2]:
            reach = ctx.window_shape[-1] // 2
            grad_window = offset_products(ghosts, ctx.saved_tensors[0], reach).reshape(ctx.window_shape)
        return grad[:, :ctx.kept], grad_sources, grad_window, None
