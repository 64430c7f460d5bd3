"""Reading a scene as mmdet3d's converters write it: points, semantic and instance ids, in raw binary files.

`points/NAME.bin` holds float32 rows x, y, z (metres), red, green, blue (0..255); `semantic_mask/NAME.bin` and
`instance_mask/NAME.bin` one int64 a point. The files have no header, so a wrong length or type shows only in the
values; what is wrong is named here, by file.
"""

from __future__ import annotations

import os

import numpy as np

from projects.runtime.errors import DataError

from .instance_ap import majority

FEATURES = 6


class IndoorDataError(DataError):
    """A scan's file is missing, cut off, or holds values that mean nothing."""


def _read(path: str, dtype: type, key: str) -> np.ndarray:
    try:
        return np.fromfile(path, dtype=dtype)
    except OSError as error:
        reason = 'no such file' if not os.path.exists(path) else f'cannot be read ({error.strerror})'
        raise IndoorDataError(f'{path}: {reason} (from the info file; key {key}). Expected what '
                              'tools/dataset_converters/scannet_to_mmdet3d.py or s3dis_to_mmdet3d.py write: convert '
                              'again, or correct data_root and data_prefix') from None


def read_points(path: str) -> np.ndarray:
    """Points of a scene, (n, 6) float32: x, y, z in metres, red, green, blue in 0..255.

    Raises:
        IndoorDataError: Missing or empty file, a length that is no multiple of six numbers, NaN or infinity.
    """
    values = _read(path, np.float32, 'lidar_points.lidar_path')
    size = os.path.getsize(path)
    if not len(values) or size % (4 * FEATURES):
        raise IndoorDataError(f'{path}: {size} bytes, expected a multiple of {4 * FEATURES} above 0 (six float32 a '
                              'point: x, y, z, red, green, blue). Is it cut off, or of another data set? Convert again')
    points = values.reshape(-1, FEATURES)
    bad = ~np.isfinite(points).all(1)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise IndoorDataError(f'{path}: {int(bad.sum())} of {len(points)} points are not finite, the first is number '
                              f'{first}: {points[first].tolist()}. Convert the scan again, or take it out of the list')
    return points


def read_ids(path: str, count: int, key: str) -> np.ndarray:
    """Ids of a scene's points, (count,) int64, writable.

    Raises:
        IndoorDataError: Missing file, another number of ids than points, negative ids.
    """
    ids = _read(path, np.int64, key)
    size = os.path.getsize(path)
    if size != 8 * count:
        hint = ' They seem to be of 32 bits.' if size == 4 * count else ''
        raise IndoorDataError(f'{path}: {size} bytes, expected {8 * count}, one int64 for each of the {count} points '
                              f'(key {key}).{hint} Convert the scan again')
    if ids.min(initial=0) < 0:
        raise IndoorDataError(f'{path}: id {int(ids.min())} (key {key}); expected ids from 0 on, 0 for unannotated '
                              'points. Convert the scan again')
    return ids


def map_labels(ids: np.ndarray, mapping: np.ndarray, path: str) -> np.ndarray:
    """Class index of each point by a table from the ids of the file.

    Raises:
        IndoorDataError: An id that is not in the table.
    """
    if ids.max(initial=0) >= len(mapping):
        raise IndoorDataError(f'{path}: semantic id {int(ids.max())}, expected 0 to {len(mapping) - 1}. Is the file of '
                              'another data set (data_prefix.pts_semantic_mask)?')
    return mapping[ids]


def map_instances(ids: np.ndarray, labels: np.ndarray, stuff: np.ndarray) -> np.ndarray:
    """Number the instances of a scene from 0 in the order of their ids; -1 for none.

    Args:
        ids: (n,) instance ids of the file, 0 for unannotated points.
        labels: (n,) class indices.
        stuff: Classes whose instances are dropped. An instance's class is the most frequent one of its points.

    Returns:
        (n,) int64.
    """
    numbers = np.full(len(ids), -1, dtype=np.int64)
    inside = ids > 0
    values, codes = np.unique(ids[inside], return_inverse=True)
    kept = ~np.isin(majority(codes, labels[inside], len(values)), stuff)
    numbers[inside] = np.where(kept, kept.cumsum() - 1, -1)[codes]
    return numbers


def compact(instances: np.ndarray) -> np.ndarray:
    """The same instances, numbered without gaps; negative ones stay -1."""
    numbers = np.full(len(instances), -1, dtype=np.int64)
    inside = instances >= 0
    numbers[inside] = np.unique(instances[inside], return_inverse=True)[1]
    return numbers
