"""The header of a PLY file: which elements it has, how many, and of what properties."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .report import SubmissionError

FORMATS = ('ascii', 'binary_little_endian', 'binary_big_endian')
_LARGEST_HEADER = 1 << 16


@dataclass(frozen=True)
class Element:
    """One kind of element.

    Attributes:
        name: 'vertex', 'face', ...
        count: How many there are.
        properties: (name, type) in file order; the type of a list is 'list COUNT_TYPE ITEM_TYPE'.
    """

    name: str
    count: int
    properties: tuple[tuple[str, str], ...]


def read_header(stream: BinaryIO) -> tuple[str, list[Element]]:
    """Read a header; the stream stands at the first byte of data then.

    Returns:
        The format, one of ``FORMATS``, and the elements in file order.

    Raises:
        ValueError: What is wrong with the header, in words.
    """
    if stream.readline(_LARGEST_HEADER).strip() != b'ply':
        raise ValueError("the first line is not 'ply'")
    kind, elements, read = '', [], 0
    while True:
        line = stream.readline(_LARGEST_HEADER)
        read += len(line)
        words = line.decode('latin-1').split()
        if not line.endswith(b'\n') or read > _LARGEST_HEADER:
            raise ValueError("the header does not end with 'end_header'")
        if not words or words[0] in ('comment', 'obj_info'):
            continue
        if words[0] == 'end_header':
            break
        if words[0] == 'format' and len(words) == 3 and words[1] in FORMATS:
            kind = words[1]
        elif words[0] == 'element' and len(words) == 3 and words[2].isdigit():
            elements.append(Element(words[1], int(words[2]), ()))
        elif words[0] == 'property' and len(words) >= 3 and elements:
            last = elements[-1]
            added = (words[-1], ' '.join(words[1:-1]))
            elements[-1] = Element(last.name, last.count, (*last.properties, added))
        else:
            raise ValueError(f'the header has the line {" ".join(words)!r}')
    if not kind:
        raise ValueError('the header names no format')
    return kind, elements


def vertex_count(path: Path) -> int:
    """Number of vertices of a mesh, read from its header alone.

    Raises:
        SubmissionError: The file cannot be read, is no PLY file, or has no vertices.
    """
    try:
        with open(path, 'rb') as stream:
            elements = read_header(stream)[1]
    except (OSError, ValueError) as error:
        raise SubmissionError(path, [f'no mesh in PLY format ({error}); copy it again (option mesh_dir)']) from error
    for element in elements:
        if element.name == 'vertex' and element.count:
            return element.count
    raise SubmissionError(path, ['a mesh without vertices; copy it again (option mesh_dir)'])
