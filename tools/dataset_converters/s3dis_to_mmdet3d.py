#!/usr/bin/env python3
"""Convert S3DIS (aligned version 1.2) to the files that mmdet3d 1.4 reads.

    python tools/dataset_converters/s3dis_to_mmdet3d.py data/s3dis/Stanford3dDataset_v1.2_Aligned_Version

RAW holds `Area_K/ROOM/Annotations/CLASS_NUMBER.txt`, the points of one object each, a line `x y z r g b`. Written are
`points/`, `semantic_mask/`, `instance_mask/`, `s3dis_infos_Area_K.pkl` and `seg_info/`, as by mmdet3d's
collect_indoor3d_data.py and create_data.py. Departures: rooms and objects are sorted by name, where mmdet3d takes them
as the file system lists them, so that its order of points and instance numbers differ between machines; the stray byte
in Area_5/hallway_6/Annotations/ceiling_1.txt is read as a space, and the file stays as it is.

A run that was cut off is simply started again: converted rooms have a record in `scan_records/`.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

HERE = str(Path(__file__).resolve().parent)
if HERE not in sys.path:  # tools/ is no package, and a test may load this file by its path
    sys.path.append(HERE)
from indoor_infos import (  # noqa: E402
    DataError,
    fingerprint,
    read_record,
    run_all,
    scene_info,
    write_infos,
    write_scan,
    write_seg_info,
)

CLASSES = ('ceiling', 'floor', 'wall', 'beam', 'column', 'window', 'door', 'table', 'chair', 'sofa', 'bookcase',
           'board', 'clutter')
BOX_CLASSES = ('table', 'chair', 'sofa', 'bookcase', 'board')
AREAS = (1, 2, 3, 4, 5, 6)
_STRAY = bytes(code for code in range(256) if (code < 32 and code not in b'\t\n\r') or code > 126)
_TO_SPACE = bytes(32 if code in _STRAY else code for code in range(256))


def parse_points(data: bytes, where: str) -> tuple[np.ndarray, int]:
    """The numbers of an annotation file.

    Args:
        data: The file's content. Bytes that are no text count as spaces.
        where: Name of the file, for messages.

    Returns:
        (n, 6) float64, and the number of such bytes.

    Raises:
        DataError: Names the line that has no six numbers, or colours outside of 0..255.
    """
    text = data.translate(_TO_SPACE)
    strays = len(data) - len(data.translate(None, _STRAY))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)  # numpy's way to say that a number could not be read
        values = np.fromstring(text, sep=' ')
    lines = text.count(b'\n') + (not text.endswith(b'\n'))
    if len(values) != 6 * lines or not lines:
        _find_fault(text, where)
        values = np.array(text.split(), dtype=np.float64)  # blank lines only
    points = values.reshape(-1, 6)
    bad = ~np.isfinite(points).all(1) | (points[:, 3:] < 0).any(1) | (points[:, 3:] > 255).any(1)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise DataError(f'{where}: point {first} is {points[first].tolist()}; expected finite x y z and colours of 0 '
                        'to 255. Unpack the file again')
    return points, strays


def _find_fault(text: bytes, where: str) -> None:
    count = 0
    for number, line in enumerate(text.split(b'\n'), 1):
        words = line.split()
        count += bool(words)
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            numbers = []
        if words and len(numbers) != 6:
            shown = line[:60].decode('ascii', errors='replace')
            raise DataError(f'{where}: line {number} is {shown!r}; expected six numbers, x y z r g b. Unpack the file '
                            'again')
    if not count:
        raise DataError(f'{where}: no points in it. Unpack the file again')


def find_boxes(xyz: np.ndarray, semantic: np.ndarray, instance: np.ndarray) -> list[tuple[list[float], int]]:
    """Boxes of the five furniture classes: (centre and size, class), in the order of the instances."""
    boxes = []
    for number in range(1, int(instance.max()) + 1):
        inside = np.flatnonzero(instance == number)
        name = CLASSES[semantic[inside[0]]]
        if name in BOX_CLASSES:
            low, high = xyz[inside].min(0), xyz[inside].max(0)
            boxes.append(([*((low + high) / 2).tolist(), *(high - low).tolist()], BOX_CLASSES.index(name)))
    return boxes


def convert_room(raw: Path, out: Path, room: str) -> None:
    """Convert one room, unless it is done and its files are unchanged.

    Args:
        raw, out: Folders of the data set, before and after.
        room: AREA/ROOM.
    """
    name = room.replace('/', '_')
    files = sorted((raw / room / 'Annotations').glob('*.txt'))
    if not files:
        raise DataError(f'{raw / room}/Annotations: no files CLASS_NUMBER.txt. Unpack the area again')
    source = fingerprint(files)
    record = read_record(out, name)
    if record is not None and record['source'] == source:
        return
    parts, labels, repaired = [], [], {}
    for file in files:
        points, strays = parse_points(file.read_bytes(), str(file))
        kind = file.name.split('_')[0]
        parts.append(points)
        labels.append(CLASSES.index(kind if kind in CLASSES else 'clutter'))  # 'stairs' of a few rooms
        if strays:
            repaired[f'{room}/Annotations/{file.name}'] = strays
    sizes = [len(part) for part in parts]
    points = np.concatenate(parts)
    points[:, :3] -= points[:, :3].min(0)
    points = points.astype(np.float32)
    semantic, instance = np.repeat(labels, sizes), np.repeat(np.arange(1, len(parts) + 1), sizes)
    write_scan(out, name, points, semantic, instance, dict(
        source=source, boxes=find_boxes(points[:, :3], semantic, instance), repaired=repaired))


def list_rooms(raw: Path, area: int) -> list[str]:
    """The rooms of an area, AREA/ROOM, sorted.

    Raises:
        DataError: No such area, or nothing in it.
    """
    folder = raw / f'Area_{area}'
    rooms = sorted(f'{folder.name}/{path.name}' for path in folder.glob('*') if path.is_dir())
    if not rooms:
        raise DataError(f'{folder}: no such folder, or no rooms in it. Expected Area_{area}/ROOM/Annotations/*.txt; '
                        'name the areas that are there with --areas')
    return rooms


def convert(raw: str | Path, out: str | Path | None = None, areas: Sequence[int] = AREAS, workers: int = 2,
            progress: bool = True) -> dict[str, int]:
    """Convert some areas.

    Args:
        raw: Folder with `Area_1/` and so on.
        out: Where to; default: the folder above `raw`.
        areas: Numbers of areas.
        workers: Processes.
        progress: Show a bar on stderr.

    Returns:
        Files in which stray bytes were read as spaces, with their number.

    Raises:
        DataError: Areas or files that are missing or broken, by name.
    """
    raw = Path(raw)
    out = raw.parent if out is None else Path(out)
    rooms = {area: list_rooms(raw, area) for area in areas}
    run_all([room for area in areas for room in rooms[area]], partial(convert_room, raw, out), workers, progress)
    repaired: dict[str, int] = {}
    for area in areas:
        names = [room.replace('/', '_') for room in rooms[area]]
        records = [read_record(out, name) for name in names]
        infos = [dict(sample_idx=index, **scene_info(name, record))
                 for index, (name, record) in enumerate(zip(names, records, strict=True))]
        write_infos(out / f's3dis_infos_Area_{area}.pkl', 's3dis', BOX_CLASSES, infos)
        write_seg_info(out, f'Area_{area}', records, range(len(CLASSES)), 4096)
        for record in records:
            repaired.update(record['repaired'])
    return repaired


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description='Convert S3DIS to the files that mmdet3d 1.4 reads.',
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('raw', metavar='RAW', help='Stanford3dDataset_v1.2_Aligned_Version')
    parser.add_argument('--out', metavar='DIR', help='where to; the folder above RAW if not given')
    parser.add_argument('--areas', nargs='+', type=int, choices=AREAS, default=AREAS)
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes')
    args = parser.parse_args(argv)
    try:
        repaired = convert(args.raw, args.out, args.areas, args.workers)
    except DataError as error:
        print(f'{parser.prog}: {error}', file=sys.stderr)
        return 1
    for file, count in repaired.items():
        print(f'{file}: {count} stray bytes were read as spaces; the file is unchanged')
    print(f'written: {", ".join(f"s3dis_infos_Area_{area}.pkl" for area in args.areas)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
