"""A progress bar over the bytes of a file that is being read."""
from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from tqdm import tqdm


class _CountedFile(io.RawIOBase):
    """Passes reads on to ``stream`` and counts the bytes on ``bar``."""

    def __init__(self, stream: BinaryIO, bar: tqdm) -> None:
        self._stream, self._bar = stream, bar

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._stream.readinto(buffer)
        self._bar.update(count)
        return count


@contextmanager
def reading(stream: BinaryIO, size: int, title: str) -> Iterator[io.BufferedReader]:
    """A buffered reader over ``stream`` (``size`` bytes) with a bar, shown on a terminal only."""
    with (tqdm(total=size, unit='B', unit_scale=True, desc=title, disable=None) as bar,
          io.BufferedReader(_CountedFile(stream, bar), 1 << 20) as reader):
        yield reader
