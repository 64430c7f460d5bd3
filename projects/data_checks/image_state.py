"""Whether a file is there and whole, by a look at its size and its two ends."""

import os

from PIL import Image

_KINDS = {b'\xff\xd8': ('JPEG', b'\xff\xd9'), b'\x89P': ('PNG', b'IEND\xaeB`\x82')}


def image_state(path: str) -> tuple[str, str] | None:
    """(kind of problem, sentence) for a file that is missing, empty or cut off, else None.

    Decoders answer a truncated JPEG with an image whose lower part is grey. A JPEG or PNG file that does not end with
    its format's mark is decoded by Pillow, which reports missing data; other files are left to their readers.
    """
    if '://' in path:
        return None
    try:
        size = os.stat(path).st_size
    except OSError as error:
        return 'missing file', f'{error.strerror}'
    if not size:
        return 'empty file', '0 bytes'
    with open(path, 'rb') as file:
        head = file.read(2)
        if head not in _KINDS:
            return None
        file.seek(max(0, size - 16))
        tail = file.read()
    name, mark = _KINDS[head]
    if tail.endswith(mark):
        return None
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError) as error:
        return 'truncated image', f'{name} of {size:,} bytes: {error}'
    return None
