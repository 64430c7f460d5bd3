"""PNG files as servers want them: 8-bit RGB for restoration, 8-bit labels for segmentation.

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


def encode(image: np.ndarray, palette: np.ndarray | None = None) -> bytes:
    """The PNG of an image (H, W, 3) uint8 RGB, or of labels (H, W) uint8.

    Labels get ``palette``, (256, 3) uint8, if it is given; the numbers in the file are the labels
    either way.
    """
    from PIL import Image
    picture, stream = Image.fromarray(image), io.BytesIO()
    if palette is not None:
        picture.putpalette(palette.tobytes())
    picture.save(stream, 'PNG')
    return stream.getvalue()


def decode_fault(data: bytes) -> str | None:
    """Why the pixels of a PNG's bytes cannot be read, or None."""
    result = decode(data)
    return result if isinstance(result, str) else None


def decode(data: bytes) -> np.ndarray | str:
    """The numbers in a PNG, (H, W) for grey and palette files, or why they cannot be read."""
    from PIL import Image
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return str(error)


def palette_of(data: bytes) -> np.ndarray:
    """The palette of a palette PNG's bytes, (n, 3) uint8."""
    from PIL import Image
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.getpalette(), dtype=np.uint8).reshape(-1, 3)
