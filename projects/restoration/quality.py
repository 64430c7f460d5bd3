"""PSNR and SSIM as super-resolution papers report them.

Everything is computed in float64 for a peak value of 255. Published tables convert both images to the luma Y of
YCbCr, unrounded, and leave out as many pixels at each border as the scale (`convert_to='Y', crop_border=scale`);
DIV2K's validation set is often scored on RGB with scale + 6 pixels left out. The prediction has been rounded to 8 bit
before; the metrics in `metrics.py` do that.

SSIM (Wang et al., 2004): Gaussian window 11 x 11 with sigma 1.5, taken only where it lies inside the image, population
moments, K1 = 0.01, K2 = 0.03, and the mean of the map; on RGB the mean over the channels. scikit-image's default is a
uniform 7 x 7 window and not comparable.
"""

import cv2
import numpy as np

from .colour import rgb2ycbcr

_PEAK = 255.0
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2


def psnr(pred, gt, *, crop_border=0, convert_to=None):
    """Peak signal-to-noise ratio of two images.

    Args:
        pred, gt (ndarray): H x W x 3 RGB, or grey as H x W x 1 or H x W, in 0..255, uint8 or floating point.
        crop_border (int): Pixels left out on each side.
        convert_to (str, optional): 'Y' compares the luma of colour images; None all their channels together. Grey
            images are compared as they are.

    Returns:
        float: Decibels; infinity for equal images.

    Raises:
        ValueError: shapes that differ or are no images, nothing left inside the border, unknown `convert_to`.
    """
    pred, gt = _prepare(pred, gt, crop_border, convert_to, 1)
    error = np.mean((pred - gt) ** 2)
    return float(10 * np.log10(_PEAK ** 2 / error)) if error != 0 else float('inf')


def ssim(pred, gt, *, crop_border=0, convert_to=None):
    """Structural similarity of two images.

    Args:
        pred, gt (ndarray): As for :func:`psnr`; at least 11 x 11 pixels inside the border.
        crop_border (int): Pixels left out on each side, before the window takes five more.
        convert_to (str, optional): As for :func:`psnr`; None averages over the channels.

    Returns:
        float: At most 1, which equal images reach.

    Raises:
        ValueError: as :func:`psnr`.
    """
    x, y = _prepare(pred, gt, crop_border, convert_to, _WINDOW)
    mean_x, mean_y = _blur(x), _blur(y)
    var_x = _blur(x * x) - mean_x ** 2
    var_y = _blur(y * y) - mean_y ** 2
    covariance = _blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x ** 2 + mean_y ** 2 + _C1)
    structure = (2 * covariance + _C2) / (var_x + var_y + _C2)
    return float(np.mean(luminance * structure))


def _prepare(pred, gt, crop_border, convert_to, smallest):
    """Both images as float64, in the channels and without the border that are compared."""
    if convert_to not in (None, 'Y'):
        raise ValueError(f"convert_to={convert_to!r}, expected 'Y' or None (the channels as they are)")
    if crop_border < 0:
        raise ValueError(f'crop_border={crop_border}, expected pixels, 0 or more')
    if pred.shape != gt.shape:
        raise ValueError(f'prediction and ground truth differ in shape: {pred.shape} and {gt.shape}')
    if pred.ndim not in (2, 3) or pred.ndim == 3 and pred.shape[2] not in (1, 3):
        raise ValueError(f'expected images H x W x 3 (RGB), H x W x 1 or H x W, got shape {pred.shape}')
    height, width = pred.shape[:2]
    if min(height, width) - 2 * crop_border < smallest:
        raise ValueError(f'an image of {height} x {width} pixels (height x width) leaves less than {smallest} x '
                         f'{smallest} without a border of {crop_border}')
    inside = np.s_[crop_border:height - crop_border, crop_border:width - crop_border]
    return [_channels(img[inside], convert_to) for img in (pred, gt)]


def _channels(img, convert_to):
    if convert_to == 'Y' and img.ndim == 3 and img.shape[2] == 3:
        return rgb2ycbcr(img, y_only=True)
    return np.ascontiguousarray(img, np.float64)


def _blur(img):
    """Gaussian-weighted means of all windows that lie inside the image."""
    kernel = cv2.getGaussianKernel(_WINDOW, _SIGMA)
    margin = _WINDOW // 2
    return cv2.sepFilter2D(img, -1, kernel, kernel)[margin:-margin, margin:-margin]
