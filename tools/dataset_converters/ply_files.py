"""Reading the vertices of PLY meshes, and writing small coloured ones."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.leaderboards.ply_headers import Element, read_header  # noqa: E402

_TYPES = dict(char='i1', int8='i1', uchar='u1', uint8='u1', short='i2', int16='i2', ushort='u2', uint16='u2', int='i4',
              int32='i4', uint='u4', uint32='u4', float='f4', float32='f4', double='f8', float64='f8')


def read_vertices(path: str | Path) -> np.ndarray:
    """The vertices of a mesh, a structured array with the file's properties; faces are not read.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no PLY file, cut off, without vertices, or with lists among their properties.
    """
    with open(path, 'rb') as stream:
        kind, elements = read_header(stream)
        if not elements or elements[0].name != 'vertex' or not elements[0].count:
            raise ValueError('the first element is not vertex, or there are none')
        return _values(stream, kind, elements[0])


def _values(stream, kind: str, element: Element) -> np.ndarray:
    lists = [name for name, form in element.properties if form not in _TYPES]
    if lists:
        raise ValueError(f'the property {lists[0]} of the vertices is no number')
    if kind == 'ascii':
        rows = [stream.readline().split() for _ in range(element.count)]
        if any(len(row) != len(element.properties) for row in rows):
            raise ValueError(f'expected {element.count} lines of {len(element.properties)} numbers')
        found = np.empty(element.count, dtype=[(name, _TYPES[form]) for name, form in element.properties])
        for column, (name, _) in enumerate(element.properties):
            found[name] = [float(row[column]) for row in rows]
        return found
    order = '<' if kind == 'binary_little_endian' else '>'
    form = np.dtype([(name, order + _TYPES[form]) for name, form in element.properties])
    expected = form.itemsize * element.count
    data = stream.read(expected)
    if len(data) < expected:
        raise ValueError(f'the file is cut off: {len(data)} bytes of vertices, expected {expected}')
    return np.frombuffer(data, dtype=form)


def mesh_bytes(xyz: np.ndarray, rgb: np.ndarray, faces: np.ndarray, label: np.ndarray | None = None) -> bytes:
    """A binary PLY mesh as ScanNet's: vertices with red, green, blue, alpha (and label), then triangles.

    Args:
        xyz: (n, 3) metres.
        rgb: (n, 3) uint8.
        faces: (m, 3) indices of vertices.
        label: (n,) a number for each vertex, or None.
    """
    form = [('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('red', 'u1'), ('green', 'u1'), ('blue', 'u1'), ('alpha', 'u1')]
    names = dict.fromkeys('xyz', 'float') | dict.fromkeys(('red', 'green', 'blue', 'alpha'), 'uchar')
    if label is not None:
        form.append(('label', '<u2'))
        names['label'] = 'ushort'
    vertices = np.zeros(len(xyz), dtype=form)
    for column, name in enumerate('xyz'):
        vertices[name] = xyz[:, column]
    for column, name in enumerate(('red', 'green', 'blue')):
        vertices[name] = rgb[:, column]
    vertices['alpha'] = 255
    if label is not None:
        vertices['label'] = label
    triangles = np.zeros(len(faces), dtype=[('count', 'u1'), ('index', '<i4', 3)])
    triangles['count'], triangles['index'] = 3, faces
    header = ['ply', 'format binary_little_endian 1.0', f'element vertex {len(xyz)}',
              *(f'property {form} {name}' for name, form in names.items()),
              f'element face {len(faces)}', 'property list uchar int vertex_indices', 'end_header', '']
    return '\n'.join(header).encode() + vertices.tobytes() + triangles.tobytes()
