"""PNG files as restoration servers want them: 8-bit RGB.

Pillow opens a 16-bit RGB file as if it had 8 bits, so the file's own header is read here.
"""
from __future__ import annotations

import io
import struct

import numpy as np

HEADER_BYTES = 26  # signature, then length, name and the first ten bytes of the IHDR chunk
_START = b'\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR'
_COLOURS = {0: 'grey', 2: 'RGB', 3: 'palette', 4: 'grey with alpha', 6: 'RGB with alpha'}


def read_header(data: bytes) -> tuple[tuple[int, int], str] | None:
    """Size (width, height) and format, as '8-bit RGB', of a PNG's bytes; None if it is no PNG."""
    if len(data) < HEADER_BYTES or not data.startswith(_START):
        return None
    width, height, depth, colour = struct.unpack('>IIBB', data[len(_START):HEADER_BYTES])
    return (width, height), f'{depth}-bit {_COLOURS.get(colour, "unknown colour")}'


def format_fault(header: tuple[tuple[int, int], str] | None) -> str | None:
    """What is wrong with a file of this header, and what to do; None if it is 8-bit RGB."""
    if header is None:
        return 'not a PNG file; save the results losslessly as PNG'
    if header[1] != '8-bit RGB':
        return 'expected 8-bit RGB without alpha; convert it and save it again'
    return None


def encode(image: np.ndarray) -> bytes:
    """The PNG of an image (H, W, 3) uint8 RGB."""
    from PIL import Image
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, 'PNG')
    return stream.getvalue()


def decode_fault(data: bytes) -> str | None:
    """Why the pixels of a PNG's bytes cannot be read, or None."""
    from PIL import Image
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return str(error)
    return None
