"""Reading image files into 8-bit RGB, with an error that names the file for everything else.

Decoders answer an empty file, a truncated one or a 16-bit PNG with an anonymous error, a half-grey image or silently
scaled values. Benchmarks do not forgive any of these.
"""

import io

import cv2
import numpy as np
from mmengine.fileio import get

from projects.runtime.errors import DataError
from projects.runtime.image_bytes import TAIL, missing_data

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.ppm', '.webp')


def read_image(path, backend_args=None):
    """Read a file as RGB.

    8-bit RGB comes as it is. A grey image is copied to three channels. An alpha channel that is opaque everywhere is
    dropped.

    Args:
        path (str): File, local or of a storage backend.
        backend_args (dict, optional): Of mmengine's storage backend.

    Returns:
        ndarray: H x W x 3, uint8.

    Raises:
        DataError: missing, empty, truncated, no image, not 8 bit, or really transparent.
    """
    return read_image_and_kind(path, backend_args)[0]


def read_image_and_kind(path, backend_args=None):
    """As :func:`read_image`, and whether the file has a single channel."""
    try:
        content = get(path, backend_args=backend_args)
    except OSError as error:
        raise DataError(f'{path}: the image cannot be read ({error.strerror or error}).') from error
    image = _decode(content, path)
    return _to_rgb(image, path), image.ndim == 2


def _decode(content, path):
    if not content:
        raise DataError(f'{path}: the image file is empty (0 bytes). Copy or download it again.')
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or missing_data(content[:2], content[-TAIL:], io.BytesIO(content)) is not None:
        raise DataError(f'{path}: the image file ({len(content):,} bytes) is truncated, damaged, or in no known image '
                        'format. Copy or download it again.')
    return image


def _to_rgb(image, path):
    if image.dtype != np.uint8:
        raise DataError(f'{path}: the image has values of type {image.dtype}, expected 8 bit per channel. Scores refer '
                        'to the range 0..255: convert it to 8 bit yourself, so that the rounding is a known one.')
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, axis=2)
    if image.shape[2] == 4:
        if image[..., 3].min() < 255:
            raise DataError(f'{path}: the image is transparent in places (RGBA), expected RGB or an opaque alpha '
                            'channel. Put it on a background first.')
    elif image.shape[2] != 3:
        raise DataError(f'{path}: the image has {image.shape[2]} channels, expected 1 (grey), 3 (RGB) or 4 (RGBA).')
    return np.ascontiguousarray(image[..., 2::-1])
