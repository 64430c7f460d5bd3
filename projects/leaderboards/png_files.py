"""PNG files as servers want them: 8-bit RGB for restoration, 8-bit labels for segmentation.

Pillow opens a 16-bit RGB file as if it had 8 bits, so the file's own header is read here.
"""
from __future__ import annotations

import io
import struct

import numpy as np

from .report import Fault

HEADER_BYTES = 26  # signature, then length, name and the first ten bytes of the IHDR chunk
LARGEST_PNG = 64 << 20  # bytes of a file, the one thing that is read as a whole
LARGEST_IMAGE = 1 << 25  # pixels; an 8K picture has slightly fewer
NOT_PNG = 'not a PNG file; save it losslessly as PNG'
BROKEN = 'the pixels cannot be decoded; write the file again'
TOO_LARGE = 'a file is too large for a PNG of this track'
_START = b'\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR'
_COLOURS = {0: 'grey', 2: 'RGB', 3: 'palette', 4: 'grey with alpha', 6: 'RGB with alpha'}


def read_header(data: bytes) -> tuple[tuple[int, int], str]:
    """Size (width, height) and format, as '8-bit RGB', from a PNG's first bytes.

    Raises:
        Fault: It is no PNG, or has more pixels than anyone would decode.
    """
    if len(data) < HEADER_BYTES or not data.startswith(_START):
        raise Fault(NOT_PNG)
    width, height, depth, colour = struct.unpack('>IIBB', data[len(_START):HEADER_BYTES])
    if width * height > LARGEST_IMAGE or not width * height:
        raise Fault(f'an image must have 1 to {LARGEST_IMAGE} pixels', f'{width} x {height}')
    return (width, height), f'{depth}-bit {_COLOURS.get(colour, "unknown colour")}'


def check_rgb(data: bytes) -> tuple[int, int]:
    """Size (width, height) of an 8-bit RGB file, by its first bytes.

    Raises:
        Fault: It is none.
    """
    size, kind = read_header(data)
    if kind != '8-bit RGB':
        raise Fault('expected 8-bit RGB without alpha; convert it and save it again', kind)
    return size


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


def decode(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The numbers in a PNG of which :func:`read_header` was asked, and its palette.

    Returns:
        (H, W) uint8 for grey and palette files, (H, W, 3) for RGB; (n, 3) uint8, n = 0 without a palette.

    Raises:
        Fault: The pixels cannot be read.
    """
    from PIL import Image
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            palette = image.getpalette() if image.mode == 'P' else []
            return np.asarray(image), np.array(palette or [], dtype=np.uint8).reshape(-1, 3)
    except Image.UnidentifiedImageError as error:  # whose text is an address in memory
        raise Fault(BROKEN, 'its header is damaged') from error
    except Exception as error:  # a damaged file can make Pillow raise nearly anything
        raise Fault(BROKEN, f'{error or type(error).__name__}') from error
