#!/usr/bin/env python3
"""Convert ScanNet V2 to the files that mmdet3d 1.4 reads.

    python tools/dataset_converters/scannet_to_mmdet3d.py data/scannet

RAW holds `scans/`, `scans_test/` (with SCAN/SCAN_vh_clean_2.ply and so on) and `meta_data/` (the lists
scannetv2_{train,val,test}.txt and scannetv2-labels.combined.tsv). Written are `points/`, `semantic_mask/`,
`instance_mask/`, `scannet_infos_{train,val,test}.pkl` and `seg_info/`, as by mmdet3d's batch_load_scannet_data.py and
create_data.py, all points, without images. Departures: scans are sorted by name; one that fails is named, and no info
file is written then (mmdet3d prints a line and goes on); objects may have gaps in their numbers.

A run that was cut off is simply started again: converted scans have a record in `scan_records/`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
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
from ply_files import read_vertices  # noqa: E402

SPLITS = ('train', 'val', 'test')
BOX_CLASSES = ('cabinet', 'bed', 'chair', 'sofa', 'table', 'door', 'window', 'bookshelf', 'picture', 'counter', 'desk',
               'curtain', 'refrigerator', 'showercurtrain', 'toilet', 'sink', 'bathtub', 'garbagebin')
BOX_IDS = (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39)
SEMANTIC_IDS = (1, 2, *BOX_IDS)
_LABEL_MAP = 'scannetv2-labels.combined.tsv'


def read_label_map(path: Path) -> dict[str, int]:
    """NYU40 id of each raw category.

    Raises:
        DataError: No such file, or not the label map.
    """
    try:
        with open(path, newline='') as stream:
            return {row['raw_category']: int(row['nyu40id']) for row in csv.DictReader(stream, delimiter='\t')}
    except FileNotFoundError:
        raise DataError(f'{path}: no such file. Expected the label map of ScanNet V2, see data/README.md') from None
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f'{path}: no label map ({error}). Expected tab-separated columns raw_category and nyu40id, as '
                        'in the download of ScanNet V2') from error


def read_points(mesh: Path) -> np.ndarray:
    """Vertices of a mesh: (n, 6) float32, x, y, z, red, green, blue (0..255).

    Raises:
        DataError: The mesh is broken, has no colours, or has coordinates that are not finite.
    """
    try:
        vertices = read_vertices(mesh)
    except (OSError, ValueError) as error:
        raise DataError(f'{mesh}: cannot be read as a PLY mesh ({error}). Download the scan again') from error
    names = ('x', 'y', 'z', 'red', 'green', 'blue')
    lacking = [key for key in names if key not in vertices.dtype.names]
    if lacking:
        raise DataError(f'{mesh}: the vertices have no {", ".join(lacking)}. Download the scan again')
    points = np.stack([vertices[key].astype(np.float32) for key in names], 1)
    if not np.isfinite(points).all():
        raise DataError(f'{mesh}: coordinates that are not finite. Download the scan again')
    return points


def read_json(path: Path, key: str) -> list:
    """A list in a JSON file.

    Raises:
        DataError: Cut off, or without the key.
    """
    try:
        return json.loads(path.read_text())[key]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f'{path}: expected JSON with the key {key} ({type(error).__name__}: {error}). Download the '
                        'scan again') from error


def read_alignment(path: Path) -> np.ndarray:
    """The 4 x 4 axis alignment of a scan, the identity if its file names none (as in the test split)."""
    for line in path.read_text(errors='replace').splitlines():
        key, _, values = line.partition('=')
        if key.strip() == 'axisAlignment':
            numbers = np.array(values.split(), dtype=np.float64)
            if len(numbers) != 16:
                raise DataError(f'{path}: axisAlignment has {len(numbers)} numbers, expected 16')
            return numbers.reshape(4, 4)
    return np.eye(4)


def read_objects(folder: Path, count: int, label_map: dict[str, int]) -> tuple[np.ndarray, np.ndarray, dict[int, int]]:
    """Labels of a scan's vertices, from its segments and their aggregation.

    Where objects overlap, the later one gets the vertices, and of two categories the one that appears first later: so
    does mmdet3d.

    Args:
        folder: Folder of the scan.
        count: Number of vertices.
        label_map: NYU40 id of each raw category.

    Returns:
        NYU40 ids (count,), 0 for unannotated; objects (count,), objectId + 1, 0 for unannotated; and the NYU40 id of
        each object.

    Raises:
        DataError: Names the file and what does not fit.
    """
    name = folder.name
    segments_file, objects_file = folder / f'{name}_vh_clean_2.0.010000.segs.json', folder / f'{name}.aggregation.json'
    segments = np.array(read_json(segments_file, 'segIndices'), dtype=np.int64)
    if segments.shape != (count,):
        raise DataError(f'{segments_file}: {len(segments)} segIndices, expected one for each of the {count} vertices '
                        f'of {name}_vh_clean_2.ply. Download both again')
    known, place = np.unique(segments, return_inverse=True)
    objects: dict[int, np.ndarray] = {}
    categories: dict[str, list[np.ndarray]] = {}
    for group in read_json(objects_file, 'segGroups'):
        where = f'{objects_file}: object {group.get("objectId")}'
        wanted = np.array(group.get('segments', ()), dtype=np.int64)
        strangers = wanted[~np.isin(wanted, known)]
        if len(strangers):
            raise DataError(f'{where}: segment {strangers[0]} does not occur in {segments_file.name}. Download both '
                            'again')
        if group.get('label') not in label_map:
            raise DataError(f'{where}: label {group.get("label")!r} is not a raw_category of {_LABEL_MAP}. Use the '
                            'label map of the same download')
        objects[int(group['objectId']) + 1] = np.searchsorted(known, wanted)
        categories.setdefault(group['label'], []).append(objects[int(group['objectId']) + 1])
    semantic, instance = np.zeros(len(known), dtype=np.int64), np.zeros(len(known), dtype=np.int64)
    for category, parts in categories.items():
        semantic[np.concatenate(parts)] = label_map[category]
    for number, part in objects.items():
        instance[part] = number
    classes = {number: int(semantic[part[0]]) for number, part in objects.items() if len(part)}
    return semantic[place], instance[place], classes


def find_boxes(xyz: np.ndarray, instance: np.ndarray, classes: dict[int, int]) -> list[tuple[list[float], int]]:
    """Boxes of the 18 detection classes: (centre and size, class), in the order of the objects' numbers.

    Args:
        xyz: (n, 3) aligned coordinates in metres.
        instance: (n,) object of each vertex.
        classes: NYU40 id of each object.
    """
    boxes = []
    for number in sorted(classes):
        points = xyz[instance == number]
        if len(points) and classes[number] in BOX_IDS:
            low, high = points.min(0), points.max(0)
            boxes.append(([*((low + high) / 2).tolist(), *(high - low).tolist()], BOX_IDS.index(classes[number])))
    return boxes


def convert_scan(raw: Path, out: Path, label_map: dict[str, int], scan: tuple[str, str]) -> None:
    """Convert one scan, unless it is done and its files are unchanged.

    Args:
        raw, out: Folders of the data set, before and after.
        label_map: NYU40 id of each raw category.
        scan: Split and name.
    """
    split, name = scan
    folder = raw / ('scans_test' if split == 'test' else 'scans') / name
    mesh, meta = folder / f'{name}_vh_clean_2.ply', folder / f'{name}.txt'
    files = [mesh, meta]
    if split != 'test':
        files += [folder / f'{name}_vh_clean_2.0.010000.segs.json', folder / f'{name}.aggregation.json']
    source = fingerprint(files)
    record = read_record(out, name)
    if record is not None and record['source'] == source:
        return
    points = read_points(mesh)
    record = dict(source=source, boxes=[], axis_align_matrix=None)
    semantic = instance = None
    if split != 'test':
        matrix = read_alignment(meta)
        semantic, instance, classes = read_objects(folder, len(points), label_map)
        aligned = np.dot(np.append(points[:, :3].astype(np.float64), np.ones((len(points), 1)), 1), matrix.T)[:, :3]
        record.update(boxes=find_boxes(aligned, instance, classes), axis_align_matrix=matrix.tolist())
    write_scan(out, name, points, semantic, instance, record)


def read_split(raw: Path, split: str) -> list[str]:
    """Names of the scans of a split, sorted.

    Raises:
        DataError: No list, or an empty one.
    """
    path = raw / 'meta_data' / f'scannetv2_{split}.txt'
    try:
        names = sorted(set(path.read_text().split()))
    except OSError:
        raise DataError(f'{path}: no such file. Expected a scan a line; the lists are in the ScanNet repository, '
                        'Tasks/Benchmark') from None
    if not names and split != 'test':
        raise DataError(f'{path}: names no scans. Expected a scan a line')
    return names


def convert(raw: str | Path, out: str | Path | None = None, splits: Sequence[str] = SPLITS, workers: int = 2,
            progress: bool = True) -> Path:
    """Convert the scans of some splits.

    Args:
        raw: Folder with `scans/`, `scans_test/`, `meta_data/`.
        out: Where to; default: `raw`.
        splits: Out of `SPLITS`.
        workers: Processes.
        progress: Show a bar on stderr.

    Returns:
        The folder with the info files.

    Raises:
        DataError: Lists, label map or scans that are missing or broken, by name.
    """
    raw = Path(raw)
    out = raw if out is None else Path(out)
    label_map = read_label_map(raw / 'meta_data' / _LABEL_MAP)
    names = {split: read_split(raw, split) for split in splits}
    scans = [_Scan((split, name)) for split in splits for name in names[split]]
    run_all(scans, partial(convert_scan, raw, out, label_map), workers, progress)
    for split in splits:
        records = [read_record(out, name) for name in names[split]]
        infos = [scene_info(name, record) for name, record in zip(names[split], records, strict=True)]
        write_infos(out / f'scannet_infos_{split}.pkl', 'scannet', BOX_CLASSES, infos)
        if split != 'test':
            write_seg_info(out, split, records, SEMANTIC_IDS, 8192)
    return out


class _Scan(tuple):
    """Split and name; shown by the name."""

    def __str__(self) -> str:
        return self[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description='Convert ScanNet V2 to the files that mmdet3d 1.4 reads.',
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('raw', metavar='RAW', help='folder with scans/, scans_test/, meta_data/')
    parser.add_argument('--out', metavar='DIR', help='where to; RAW if not given')
    parser.add_argument('--splits', nargs='+', choices=SPLITS, default=SPLITS)
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes')
    args = parser.parse_args(argv)
    try:
        out = convert(args.raw, args.out, args.splits, args.workers)
    except DataError as error:
        print(f'{parser.prog}: {error}', file=sys.stderr)
        return 1
    print(f'written: {", ".join(f"{out}/scannet_infos_{split}.pkl" for split in args.splits)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
