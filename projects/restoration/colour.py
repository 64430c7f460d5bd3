"""Colour conversion of the restoration benchmarks: RGB and YCbCr after ITU-R BT.601 in studio range, as MATLAB's
`rgb2ycbcr` does it: Y in 16..235, Cb and Cr in 16..240. JPEG and OpenCV use the full range, which gives other scores.

Nothing is rounded here: the published evaluations convert in floating point. Arrays carry the colour in their last
dimension, tensors in the third from last.
"""

import numpy as np
import torch

# Rows give Y, Cb and Cr of R, G and B in 0..255.
_TO_YCBCR = np.array([[65.481, 128.553, 24.966],
                      [-37.797, -74.203, 112.0],
                      [112.0, -93.786, -18.214]]) / 255
_OFFSET = np.array([16.0, 128.0, 128.0])
_TO_RGB = np.linalg.inv(_TO_YCBCR)


def rgb2ycbcr(img, y_only=False):
    """RGB to YCbCr (BT.601, studio range), unrounded.

    Args:
        img (ndarray or Tensor): RGB in 0..255, array H x W x 3 or tensor (..., 3, H, W), uint8 or floating point.
        y_only (bool): Return the luma Y alone.

    Returns:
        ndarray or Tensor: YCbCr in the shape of `img`, or with `y_only` an array H x W or a tensor (..., 1, H, W).
        Arrays are float64, tensors float32 or the wider type of the input.

    Raises:
        ValueError: there are not three colours.
    """
    if not y_only:
        return _affine(img, _TO_YCBCR, _OFFSET)
    y = _affine(img, _TO_YCBCR[:1], _OFFSET[:1])
    return y if isinstance(y, torch.Tensor) else y[..., 0]


def ycbcr2rgb(img):
    """YCbCr (BT.601, studio range) to RGB in 0..255, the inverse of :func:`rgb2ycbcr`, neither rounded nor clipped.

    Args:
        img (ndarray or Tensor): YCbCr as :func:`rgb2ycbcr` returns it.

    Returns:
        ndarray or Tensor: RGB in the shape of `img`; dtypes as in :func:`rgb2ycbcr`.

    Raises:
        ValueError: there are not three channels.
    """
    return _affine(img, _TO_RGB, -_TO_RGB @ _OFFSET)


def _affine(img, matrix, offset):
    dim = -3 if isinstance(img, torch.Tensor) else -1
    if img.ndim < 3 or img.shape[dim] != 3:
        raise ValueError('expected an array (H, W, 3) or a tensor (..., 3, H, W) in RGB or YCbCr, got '
                         f'{type(img).__name__} of shape {tuple(img.shape)}')
    if isinstance(img, torch.Tensor):
        img = img.to(torch.promote_types(img.dtype, torch.float32))
        return torch.einsum('ij,...jhw->...ihw', img.new_tensor(matrix), img) + img.new_tensor(offset)[:, None, None]
    return img.astype(np.float64) @ matrix.T + offset
