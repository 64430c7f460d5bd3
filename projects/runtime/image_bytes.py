"""Image files as bytes: is one whole, by the mark at its end, and the PNG file of an array."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

TAIL = 12
"""Bytes at the end of a file that tell whether it is whole."""

_KINDS = {b'\xff\xd8': ('JPEG', b'\xff\xd9'), b'\x89P': ('PNG', b'\x00\x00\x00\x00IEND\xaeB`\x82')}


def image_kind(head: bytes) -> str | None:
    """'JPEG' or 'PNG' by the first two bytes of a file, None for all other formats."""
    return _KINDS[head][0] if head in _KINDS else None


def missing_data(head: bytes, tail: bytes, image: str | Path | io.BytesIO) -> str | None:
    """Why a JPEG or PNG file ends early, None if it is whole or of another format.

    Decoders answer a truncated JPEG with an image whose lower part is grey. Nearly every file ends with its format's
    mark. One that does not may have bytes behind it, which some cameras and editors append, so Pillow's decoder, which
    reports missing data, decides.

    Args:
        head: First two bytes of the file.
        tail: Last `TAIL` bytes, or more.
        image: Where Pillow reads the file if it has to.
    """
    if head not in _KINDS or tail.endswith(_KINDS[head][1]):
        return None
    try:
        with Image.open(image) as opened:
            opened.load()
    except (OSError, SyntaxError) as error:
        return str(error)
    return None


def encode_png(image: np.ndarray) -> bytes:
    """RGB image H x W x 3, uint8, as the bytes of a PNG file."""
    return cv2.imencode('.png', np.ascontiguousarray(image[..., ::-1]))[1].tobytes()
