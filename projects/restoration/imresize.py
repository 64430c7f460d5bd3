"""Bicubic resizing exactly as MATLAB's `imresize`, by which the low-resolution images of the benchmarks are made.

The kernel is Keys' cubic with a = -0.5, stretched by the factor when shrinking (antialiasing), its weights normalised
for every output pixel. Each dimension is resized on its own: the one with the smaller factor first, rows (height)
before columns on a tie. An 8-bit image is rounded (halves up) and clipped after EACH of the two passes; without the
rounding in between 10 to 15 per cent of the low-resolution pixels are off by one. Floating-point images are neither
rounded nor clipped, so that overshoots stay.

Two borders are in circulation. MATLAB now mirrors the image, edge pixel included ('symmetric': the EDSR benchmark pack,
the test sets of SwinIR and IMDN); older versions repeat the edge pixel ('replicate': the files released with RCAN
and RDN). They differ in the outer two low-resolution pixels. With them the released Set5 files are reproduced to
the bit. OpenCV's and Pillow's bicubic filters are other ones.
"""

import math
from functools import lru_cache
from numbers import Integral, Real

import numpy as np
import torch

BORDERS = ('symmetric', 'replicate')
_KERNEL_WIDTH = 4


def imresize(img, scale=None, *, size=None, border='symmetric'):
    """Resize an image by MATLAB's bicubic rule.

    Args:
        img (ndarray or Tensor): An array of shape H x W or H x W x C, or a tensor of shape (..., H, W); uint8 or
            floating point, in any range of values.
        scale (float): Factor for both dimensions, as 1/4 or 2. The output has ceil(H * scale) rows.
        size (tuple[int, int]): Rows and columns of the output, instead of `scale`; the factor of each dimension
            is then the ratio of the sizes.
        border (str): 'symmetric' mirrors the image at its border, 'replicate' repeats the edge pixel.

    Returns:
        ndarray or Tensor: As `img` in kind, dtype, device and order of dimensions. A uint8 image is computed in float64
        and rounded after each pass; a float image is computed in its own precision (half in single) without
        rounding, and gradients flow through a tensor.

    Raises:
        ValueError: a shape, scale, size or border that does not fit.
        TypeError: neither an array nor a tensor, or another dtype.
    """
    if isinstance(img, np.ndarray):
        if img.ndim not in (2, 3):
            raise ValueError(f'imresize: expected an array H x W or H x W x C, got shape {img.shape}')
        tensor = torch.from_numpy(img.copy())  # a copy, for arrays that are read-only or have negative strides
        return _resize(tensor, (0, 1), scale, size, border).contiguous().numpy()
    if not isinstance(img, torch.Tensor):
        raise TypeError(f'imresize: expected an array or a tensor, got {type(img).__name__}')
    if img.ndim < 2:
        raise ValueError(f'imresize: expected a tensor (..., H, W), got shape {tuple(img.shape)}')
    return _resize(img, (-2, -1), scale, size, border).contiguous()


def _resize(img, dims, scale, size, border):
    if img.dtype != torch.uint8 and not img.is_floating_point():
        raise TypeError(f'imresize: expected uint8 or floating point, got {img.dtype}; convert the image first')
    if border not in BORDERS:
        raise ValueError(f'imresize: border={border!r}, expected one of {BORDERS}')
    old = [img.shape[dim] for dim in dims]
    if 0 in img.shape:
        raise ValueError(f'imresize: the image is empty, shape {tuple(img.shape)}')
    new, factors = _geometry(old, scale, size)
    rounded = img.dtype == torch.uint8
    x = img.to(torch.float64 if rounded else torch.promote_types(img.dtype, torch.float32))
    for i in sorted((0, 1), key=lambda i: factors[i]):  # stable: rows first on a tie
        x = _resize_dim(x, dims[i], *_contributions(old[i], new[i], factors[i], border))
        if rounded:
            x = x.add_(0.5).floor_().clamp_(0, 255)
    return x.to(img.dtype)


def _geometry(old, scale, size):
    """Sizes of the output and factors, for rows and columns."""
    if (scale is None) == (size is None):
        raise ValueError(f'imresize: give either scale or size, got scale={scale!r} and size={size!r}')
    if size is None:
        if not isinstance(scale, Real) or not 0 < scale < math.inf:
            raise ValueError(f'imresize: scale={scale!r}, expected a positive number; for a size in pixels pass size=')
        return [math.ceil(n * scale) for n in old], [float(scale)] * 2
    if len(size) != 2 or not all(isinstance(n, Integral) and n > 0 for n in size):
        raise ValueError(f'imresize: size={size!r}, expected positive integers (height, width)')
    return [int(n) for n in size], [m / n for m, n in zip(size, old, strict=True)]


def _cubic(x):
    """Keys' cubic convolution kernel with a = -0.5, float64."""
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0.0))


@lru_cache(maxsize=64)
def _contributions(old, new, factor, border):
    """Which pixels make up each output pixel: weights (taps, new) float64 and indices (taps, new) int64."""
    stretch = min(factor, 1.0)
    width = _KERNEL_WIDTH / stretch
    # Positions count from 1, as in MATLAB, so that roundings happen at the same places.
    centre = np.arange(1, new + 1) / factor + 0.5 * (1 - 1 / factor)
    left = np.floor(centre - width / 2)
    taps = left + np.arange(math.ceil(width) + 2)[:, None]
    weights = stretch * _cubic(stretch * (centre - taps))
    weights /= weights.sum(axis=0)
    indices = taps.astype(np.int64) - 1
    if border == 'symmetric':
        mirrored = np.concatenate([np.arange(old), np.arange(old)[::-1]])
        indices = mirrored[indices % (2 * old)]
    else:
        indices = indices.clip(0, old - 1)
    used = weights.any(axis=1)
    return torch.from_numpy(weights[used]), torch.from_numpy(indices[used])


def _resize_dim(x, dim, weights, indices):
    """One pass: each output line is a weighted sum of lines of `x` along `dim`, gathered tap by tap."""
    x = x.movedim(dim, 0).contiguous()
    weights = weights.to(x).reshape(*weights.shape, *[1] * (x.ndim - 1))
    indices = indices.to(x.device)
    out = weights[0] * x[indices[0]]
    for weight, index in zip(weights[1:], indices[1:], strict=True):
        out = out.addcmul_(weight, x[index])
    return out.movedim(0, dim)
