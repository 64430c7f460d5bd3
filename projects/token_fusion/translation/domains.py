"""Reading Taskonomy's images as 8-bit ones, the way TokenFusion's official code scales them (arXiv 2204.08721)."""

from __future__ import annotations

import cv2
import numpy as np
from mmengine.fileio import get

from projects.runtime.errors import DataError

EIGHT_BIT = ('rgb', 'normal', 'reshading', 'principal_curvature', 'segment_unsup2d', 'segment_unsup25d')
DEPTHS = ('depth_euclidean', 'depth_zbuffer')
LARGEST = dict(edge_texture=11355., edge_occlusion=11584.)
"""Values of the 16-bit edges that become 255."""
LARGEST_LOG = 11.1
"""log(1 + x) of the 16-bit depth that becomes 255; 65535, which marks missing depth, becomes 254."""
DOMAINS = (*EIGHT_BIT, *DEPTHS, *LARGEST)


def check_domain(name: str, where: str) -> None:
    """Raise ``DataError`` unless the name is one of ``DOMAINS``."""
    if name not in DOMAINS:
        raise DataError(f'{where}: {name!r} is no domain that can be read, expected one of {", ".join(DOMAINS)} (the '
                        "paper's shade is reshading, texture edge_texture, edge edge_occlusion or edge_texture)")


def read_domain(path: str, domain: str, backend_args: dict | None = None) -> np.ndarray:
    """An image of a domain, H x W x 3, uint8, RGB; domains of one channel repeated.

    Values beyond what becomes 255 are clipped (they wrap around in the official code).

    Raises:
        DataError: the file is missing, no image, or has another depth or number of channels than its domain.
    """
    try:
        content = get(path, backend_args=backend_args)
    except OSError as error:
        raise DataError(f'{path}: the image cannot be read ({error.strerror or error}).') from error
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    if image is None:
        raise DataError(f'{path}: the image file ({len(content):,} bytes) is empty, damaged, or in no known image '
                        'format. Copy or download it again.')
    expected = np.uint8 if domain in EIGHT_BIT else np.uint16
    flat = expected == np.uint16
    if image.dtype != expected or (flat and image.ndim != 2):
        raise DataError(f'{path}: {8 * image.dtype.itemsize} bits and '
                        f'{image.shape[2] if image.ndim == 3 else 1} channels; expected '
                        f'{"16 bits and 1 channel" if flat else "8 bits"} for the domain {domain}')
    if image.ndim == 3:
        return image[..., 2::-1]  # OpenCV orders BGR(A)
    return np.repeat(to_eight_bits(image, domain)[..., None], 3, 2)


def to_eight_bits(image: np.ndarray, domain: str) -> np.ndarray:
    """Values of a domain's file as uint8."""
    if domain in DEPTHS:
        scaled = np.log1p(image.astype(np.float64)) * (255 / LARGEST_LOG)
    elif domain in LARGEST:
        scaled = image.astype(np.float64) * (255 / LARGEST[domain])
    else:
        return image
    return scaled.clip(0, 255).astype(np.uint8)
