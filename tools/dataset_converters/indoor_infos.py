"""What the converters of indoor scans share: running over scans, resuming, and mmdet3d 1.4's info files."""

from __future__ import annotations

import io
import json
import pickle
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.runtime.atomic import write_atomic  # noqa: E402
from projects.runtime.errors import DataError  # noqa: E402

RECORDS = 'scan_records'
"""Folder of what is known of each converted scan; a scan with a record is not converted again."""
_SHOWN = 10


def run_all(scans: Sequence, convert: Callable[..., None], workers: int, progress: bool = True) -> None:
    """Convert scans; those that fail do not hold up the others.

    Args:
        scans: Arguments of `convert`, one a scan; `str` of one names it.
        convert: Function of a scan, at the top level of its module.
        workers: Processes.
        progress: Show a bar on stderr.

    Raises:
        DataError: Names the scans that failed, with their reasons.
    """
    failed: dict[str, str] = {}

    def note(scan, call: Callable) -> None:
        try:
            call()
        except DataError as error:
            failed[str(scan)] = str(error)
        bar.update()

    with tqdm(total=len(scans), desc='converting', unit='scan', disable=not progress) as bar:
        if workers == 1:
            for scan in scans:
                note(scan, lambda scan=scan: convert(scan))
        else:
            with ProcessPoolExecutor(workers) as pool:
                running = {pool.submit(convert, scan): scan for scan in scans}
                for future in as_completed(running):
                    note(running[future], future.result)
    if failed:
        lines = [f'- {name}: {reason}' for name, reason in sorted(failed.items())]
        more = [f'- and {len(lines) - _SHOWN} more'] if len(lines) > _SHOWN else []
        raise DataError('\n'.join([
            f'{len(lines)} of {len(scans)} scans were not converted, and no info file was written:',
            *lines[:_SHOWN], *more,
            'Mend their files and start again; what was converted is kept.']))


def fingerprint(files: Sequence[Path]) -> list[list]:
    """Name, size and time of source files, to tell whether a scan has changed.

    Raises:
        DataError: One of them is missing.
    """
    for file in files:
        if not file.is_file():
            raise DataError(f'{file}: no such file. Download the scan again, or take it out of the list of its split')
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def write_scan(out: Path, name: str, points: np.ndarray, semantic: np.ndarray | None, instance: np.ndarray | None,
               record: dict) -> None:
    """Write the binary files of a scan, and its record when they are complete.

    Args:
        out: Folder for `points/`, `semantic_mask/`, `instance_mask/`.
        name: Name of the scan.
        points: (n, 6) float32.
        semantic, instance: (n,) ids, or None in a test split.
        record: What the info files need; `points` (their number) and `counts` (points of each id) are added.
    """
    write_atomic(out / 'points' / f'{name}.bin', points.astype(np.float32).tobytes())
    for folder, ids in (('semantic_mask', semantic), ('instance_mask', instance)):
        if ids is not None:
            write_atomic(out / folder / f'{name}.bin', ids.astype(np.int64).tobytes())
    counts = [] if semantic is None else np.bincount(semantic.astype(np.int64)).tolist()
    write_atomic(out / RECORDS / f'{name}.json', json.dumps({**record, 'points': len(points), 'counts': counts}))


def read_record(out: Path, name: str) -> dict | None:
    """The record of a converted scan, or None if there is none or its files are not complete."""
    try:
        record = json.loads((out / RECORDS / f'{name}.json').read_text())
        sizes = {'points': 24, 'semantic_mask': 8, 'instance_mask': 8} if record['counts'] else {'points': 24}
        complete = all((out / folder / f'{name}.bin').stat().st_size == size * record['points']
                       for folder, size in sizes.items())
    except (OSError, ValueError, KeyError):
        return None
    return record if complete else None


def scene_info(name: str, record: dict) -> dict:
    """A scene's entry of an info file of version 1.1."""
    info: dict = dict(lidar_points=dict(num_pts_feats=6, lidar_path=f'{name}.bin'),
                      instances=[dict(bbox_3d=box, bbox_label_3d=label) for box, label in record['boxes']])
    if record['counts']:
        info.update(pts_semantic_mask_path=f'{name}.bin', pts_instance_mask_path=f'{name}.bin')
    if record.get('axis_align_matrix') is not None:
        info['axis_align_matrix'] = record['axis_align_matrix']
    return info


def write_infos(path: Path, dataset: str, classes: Sequence[str], infos: list[dict]) -> None:
    """Write an info file as `create_data.py` of mmdet3d 1.4 does."""
    metainfo = dict(categories={name: label for label, name in enumerate(classes)}, dataset=dataset, info_version='1.1')
    write_atomic(path, pickle.dumps(dict(metainfo=metainfo, data_list=infos), protocol=2))


def write_seg_info(out: Path, split: str, records: Sequence[dict], ids: Sequence[int], num_points: int) -> None:
    """Write what mmdet3d's semantic segmentation trains with: how often each scene is drawn, and weights of classes.

    Args:
        out: Folder for `seg_info/`.
        split: First part of the files' names.
        records: Records of the split's scans, in the order of its info file.
        ids: Semantic id of each class.
        num_points: Points that mmdet3d draws from a scene at a time.
    """
    sizes = np.array([record['points'] for record in records])
    share, draws = sizes / float(sizes.sum()), int(sizes.sum() / float(num_points))
    repeats = [int(round(part * draws)) for part in share]
    counts = np.zeros(len(ids))
    for record in records:
        found = np.array(record['counts'])
        counts += [found[number] if number < len(found) else 0 for number in ids]
    weights = counts.astype(np.float32)
    weights = (1.0 / np.log(1.2 + weights / weights.sum())).astype(np.float32)
    for name, array in (('resampled_scene_idxs', np.repeat(np.arange(len(sizes)), repeats).astype(np.int32)),
                        ('label_weight', weights)):
        stream = io.BytesIO()
        np.save(stream, array)
        write_atomic(out / 'seg_info' / f'{split}_{name}.npy', stream.getvalue())
