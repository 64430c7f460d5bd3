"""Reading a JSON array one element at a time.

A COCO test-dev file holds about two million small objects; as one Python list they would take
gigabytes, so the array is decoded from a window of the text that moves along.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

_SPACE = re.compile(r'[ \t\r\n]*')


class _Window:
    """A piece of the text, and the position in it that was read up to."""

    def __init__(self, stream: TextIO, chunk: int) -> None:
        self.stream, self.chunk = stream, chunk
        self.text, self.pos, self.dropped = '', 0, 0

    def grow(self) -> bool:
        """Append the next chunk; False at the end of the file."""
        new = self.stream.read(self.chunk)
        if not new:
            return False
        self.dropped += self.pos
        self.text, self.pos = self.text[self.pos:] + new, 0
        return True

    def peek(self) -> str:
        """The next character that is not white space, '' at the end of the file."""
        while True:
            self.pos = _SPACE.match(self.text, self.pos).end()
            if self.pos < len(self.text):
                return self.text[self.pos]
            if not self.grow():
                return ''

    def fail(self, expected: str) -> ValueError:
        found = self.text[self.pos:self.pos + 20]
        found = repr(found) if found else 'the end of the file'
        return ValueError(f'expected {expected} at character {self.dropped + self.pos}, '
                          f'found {found}')


def iter_array(stream: TextIO, chunk: int = 1 << 16) -> Iterator[Any]:
    """Yield the elements of the JSON array that ``stream`` holds.

    Args:
        stream: Text of one JSON value.
        chunk: Characters read at a time. An element may be 16 times as long.

    Raises:
        ValueError: The text is not JSON, or not an array; the message gives the position.
    """
    window, decoder = _Window(stream, chunk), json.JSONDecoder()
    if window.peek() != '[':
        raise window.fail("an array, '['")
    window.pos += 1
    if window.peek() == ']':
        window.pos += 1
    else:
        yield _element(window, decoder)
        while (mark := window.peek()) != ']':
            if mark != ',':
                raise window.fail("',' or ']'")
            window.pos += 1
            yield _element(window, decoder)
        window.pos += 1
    if window.peek():
        raise window.fail('nothing after the array')


def _element(window: _Window, decoder: json.JSONDecoder) -> Any:
    window.peek()
    while True:
        try:
            value, end = decoder.raw_decode(window.text, window.pos)
            # A number that touches the end of the window may go on in the next chunk.
            if end < len(window.text) or not window.grow():
                break
        except (ValueError, RecursionError):
            too_long = len(window.text) - window.pos > 16 * window.chunk
            if too_long or not window.grow():
                raise window.fail('a JSON value') from None
    window.pos = end
    return value
