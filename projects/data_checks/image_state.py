"""Whether a file is there and whole, by a look at its size and its two ends."""

import os

from projects.runtime.image_bytes import TAIL, image_kind, missing_data


def image_state(path: str) -> tuple[str, str] | None:
    """(kind of problem, sentence) for a file that is missing, empty or cut off, else None.

    Of JPEG and PNG files the end is looked at; other files are left to their readers.
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
        file.seek(max(0, size - TAIL))
        tail = file.read()
    reason = missing_data(head, tail, path)
    return reason and ('truncated image', f'{image_kind(head)} of {size:,} bytes: {reason}')
