#!/usr/bin/env python3
"""Make the mini indoor set: drawn, furnished rooms in the raw file layout of ScanNet V2.

    python tools/dataset_converters/make_mini_indoor.py --out data/mini_indoor
    python tools/dataset_converters/scannet_to_mmdet3d.py data/mini_indoor

A stand-in where no signed form is at hand: it has the files, names and quirks of ScanNet (label map, segments, axis
alignment, unannotated points, a category outside of the benchmark), at a tenth of the points, so that everything that
reads ScanNet reads it. It ranks no methods. What is drawn, and how hard it is, stands in mini_rooms.py.

A room depends on (seed, split, index) alone. Points lie about 5 cm apart: configs use voxels of 5 cm or more.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

HERE = str(Path(__file__).resolve().parent)
if HERE not in sys.path:  # tools/ is no package, and a test may load this file by its path
    sys.path.append(HERE)
from drawn_sets import make_folder  # noqa: E402
from mini_rooms import NYU40, Room, draw_room  # noqa: E402
from ply_files import mesh_bytes  # noqa: E402

FIRST_SCENE = dict(train=0, val=500, test=707)
"""Number of the first scene of each split; the test set of ScanNet begins at 707."""
_COLUMNS = ('id', 'raw_category', 'category', 'count', 'nyu40id', 'eigen13id', 'nyuClass', 'nyu40class')
_NYU40_NAMES = {29: 'box', 39: 'otherfurniture'}


def scene_name(split: str, index: int) -> str:
    """Name of a room, as scene0500_00."""
    return f'scene{FIRST_SCENE[split] + index:04d}_00'


def label_map() -> str:
    """The text of scannetv2-labels.combined.tsv, for the categories that occur."""
    rows = ['\t'.join(_COLUMNS)]
    for number, (name, nyu40) in enumerate(NYU40.items(), 1):
        rows.append('\t'.join(map(str, (number, name, name, 1, nyu40, 0, name, _NYU40_NAMES.get(nyu40, name)))))
    return '\n'.join(rows) + '\n'


def axis_alignment(xyz: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Turn and shift a room as a scanner would have met it, and the matrix that undoes it.

    Returns:
        (n, 3) float32 coordinates from 0 on, and the 4 x 4 matrix to the aligned ones, whose origin is the floor's
        middle.
    """
    angle = rng.uniform(-np.pi / 4, np.pi / 4)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    middle = np.append((xyz.min(0) + xyz.max(0))[:2] / 2, 0)
    turned = (xyz - middle) @ turn.T
    shift = -turned.min(0)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn.T, -turn.T @ shift
    return (turned + shift).astype(np.float32), matrix


def write_scene(folder: Path, room: Room, matrix: np.ndarray, labelled: bool) -> None:
    """Write the files of one scan.

    Args:
        folder: Folder of the scan; its name is the scan's.
        room: What was drawn, in the coordinates of the scan.
        matrix: 4 x 4 axis alignment.
        labelled: Without annotations, as in the test split, the mesh alone is written.
    """
    folder.mkdir(parents=True)
    name = folder.name
    (folder / f'{name}_vh_clean_2.ply').write_bytes(mesh_bytes(room.xyz, room.rgb, room.faces))
    lines = [f'numColorFrames = {len(room.xyz)}', 'sceneType = Misc.']
    if labelled:
        lines.insert(0, 'axisAlignment = ' + ' '.join(f'{value:.6f}' for value in matrix.ravel()))
    (folder / f'{name}.txt').write_text('\n'.join(lines) + '\n')
    if not labelled:
        return
    groups = [dict(id=number, objectId=number, segments=np.unique(room.segments[room.objects == number]).tolist(),
                   label=category) for number, category in enumerate(room.categories)]
    segments_file = f'{name}_vh_clean_2.0.010000.segs.json'
    (folder / segments_file).write_text(json.dumps(dict(
        params=dict(kThresh='0.010000', segMinVerts='20'), sceneId=name, segIndices=room.segments.tolist())))
    (folder / f'{name}.aggregation.json').write_text(json.dumps(dict(
        sceneId=f'scannet.{name}', appId='Aggregator.v2', segGroups=groups, segmentsFile=f'scannet.{segments_file}')))
    labels = np.append([NYU40[category] for category in room.categories], 0)[room.objects]
    colours = np.random.default_rng(40).integers(0, 256, (41, 3), dtype=np.uint8)[labels]
    (folder / f'{name}_vh_clean_2.labels.ply').write_bytes(mesh_bytes(room.xyz, colours, room.faces, labels))


def _make(root: Path, seed: int, job: tuple[str, int]) -> None:
    split, index = job
    key = (seed, sorted(FIRST_SCENE).index(split), index)
    room = draw_room(key)
    room.xyz, matrix = axis_alignment(room.xyz, np.random.default_rng((*key, 1)))
    parent = root / ('scans_test' if split == 'test' else 'scans')
    write_scene(parent / scene_name(split, index), room, matrix, split != 'test')


def _arguments(train: int, val: int, test: int, seed: int) -> dict:
    counts = dict(train=train, val=val, test=test)
    if train < 1 or val < 1 or test < 0 or max(train - 500, val - 207, test - 100) > 0:
        raise ValueError(f'train={train}, val={val}, test={test}: expected 1 to 500, 1 to 207 and 0 to 100 rooms')
    if seed < 0:
        raise ValueError(f'seed={seed}: expected 0 or more')
    source = b''.join((Path(HERE) / name).read_bytes() for name in ('mini_rooms.py', 'make_mini_indoor.py'))
    return dict(**counts, seed=seed, source=hashlib.sha256(source).hexdigest()[:16])


def _fill(root: Path, counts: dict[str, int], seed: int, workers: int, progress: bool) -> None:
    """Write the rooms and lists of all splits."""
    meta = root / 'meta_data'
    meta.mkdir()
    (meta / 'scannetv2-labels.combined.tsv').write_text(label_map())
    jobs = []
    for split, count in counts.items():
        (meta / f'scannetv2_{split}.txt').write_text(''.join(f'{scene_name(split, i)}\n' for i in range(count)))
        jobs += [(split, index) for index in range(count)]
    make = partial(_make, root, seed)
    with tqdm(total=len(jobs), desc='mini indoor set', unit='room', disable=not progress) as bar:
        if workers == 1:
            for job in jobs:
                make(job)
                bar.update()
        else:
            with ProcessPoolExecutor(workers) as pool:
                for _ in pool.map(make, jobs):
                    bar.update()


def generate(out: str | Path = 'data/mini_indoor', *, train: int = 24, val: int = 8, test: int = 2, seed: int = 0,
             workers: int = 2, force: bool = False, progress: bool = True) -> Path:
    """Make the set in the folder `out`, unless it lies there already with the same arguments.

    It is drawn in a folder beside and moved into place when it is complete. A set that this tool made is replaced as a
    whole, with what was converted into its folder.

    Args:
        out: Folder for `scans/`, `scans_test/`, `meta_data/` and `dataset.json`.
        train, val, test: Number of rooms in each split.
        seed: Another seed gives other rooms. Same arguments, same bytes (on one machine).
        workers: Processes that draw; without influence on the rooms.
        force: Make it again although it is there.
        progress: Show a progress bar on stderr.

    Returns:
        `out` as an absolute path.

    Raises:
        ValueError: A number is out of range.
        FileExistsError: `out` has other things in it and was not made by this tool.
    """
    out = Path(out).resolve()
    arguments = _arguments(train, val, test, seed)
    return make_folder(out, arguments, lambda root: _fill(root, dict(train=train, val=val, test=test), seed, workers,
                                                          progress), force)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description='Make the mini indoor set: drawn rooms in the raw layout of ScanNet V2. A set that is there with '
        'the same arguments is kept.', formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--out', default='data/mini_indoor', help='folder for scans/, scans_test/, meta_data/')
    parser.add_argument('--train', type=int, default=24, help='training rooms')
    parser.add_argument('--val', type=int, default=8, help='validation rooms')
    parser.add_argument('--test', type=int, default=2, help='test rooms, written without annotations')
    parser.add_argument('--seed', type=int, default=0, help='another seed, other rooms')
    parser.add_argument('--workers', type=int, default=2, help='processes; they do not change the rooms')
    parser.add_argument('--force', action='store_true', help='make it again although it is there')
    args = parser.parse_args(argv)
    try:
        root = generate(args.out, train=args.train, val=args.val, test=args.test, seed=args.seed, workers=args.workers,
                        force=args.force)
    except (ValueError, FileExistsError) as error:
        print(f'{parser.prog}: {error}', file=sys.stderr)
        return 2
    print(f'{args.train} training, {args.val} validation and {args.test} test rooms lie in {root}')
    print(f'next: python tools/dataset_converters/scannet_to_mmdet3d.py {root}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
