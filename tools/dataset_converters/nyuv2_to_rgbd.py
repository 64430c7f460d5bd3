#!/usr/bin/env python3
"""Convert the labelled part of NYU Depth v2 to the layout that TokenFusion reads, 40 classes.

    python tools/dataset_converters/nyuv2_to_rgbd.py data/nyudv2_raw --out data/nyudv2

RAW holds nyu_depth_v2_labeled.mat (MATLAB 7.3: needs h5py), splits.mat and classMapping40.mat. Scene 000001 is the
first of the labelled set. Masks lose the white frame of the camera (6 rows above and below, 7 columns left and 8
right), images and depth keep it: readers crop them to the mask's size around the middle.

A run that was cut off is simply started again: scenes whose files are there are kept.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

HERE = str(Path(__file__).resolve().parent)
if HERE not in sys.path:  # tools/ is no package, and a test may load this file by its path
    sys.path.append(HERE)
from indoor_infos import run_all  # noqa: E402
from rgbd_files import (  # noqa: E402
    IGNORE,
    NYU_CLASSES,
    DataError,
    claim,
    classes_text,
    depth_bytes,
    is_done,
    list_text,
    mask_bytes,
    open_hdf5,
    picture_bytes,
    read_mat,
    write_atomic,
    write_scene_files,
)

LABELLED, SPLITS, MAPPING = 'nyu_depth_v2_labeled.mat', 'splits.mat', 'classMapping40.mat'
DEPTHS = dict(raw='rawDepths', filled='depths')
_FRAME = (slice(6, -6), slice(7, -8))


def read_mapping(path: Path) -> np.ndarray:
    """Class of each of the raw labels: (895,) uint8, 0..39, and 255 for 0, which is unlabelled.

    Raises:
        DataError: Not the map.
    """
    classes = np.atleast_1d(read_mat(path, 'mapClass')).astype(np.int64)
    if classes.ndim != 1 or classes.min() < 1 or classes.max() > len(NYU_CLASSES):
        raise DataError(f'{path}: mapClass has values from {classes.min()} to {classes.max()}, expected 1 to '
                        f'{len(NYU_CLASSES)}')
    return np.append(IGNORE, classes - 1).astype(np.uint8)


def read_splits(path: Path, count: int) -> dict[str, list[int]]:
    """Numbers of the scenes of train and val, from 1, sorted.

    Raises:
        DataError: The two overlap, or name scenes that are not there.
    """
    splits = {split: sorted(np.atleast_1d(read_mat(path, key)).astype(int).tolist())
              for split, key in (('train', 'trainNdxs'), ('val', 'testNdxs'))}
    everything = splits['train'] + splits['val']
    if len(set(everything)) < len(everything):
        raise DataError(f'{path}: trainNdxs and testNdxs overlap. Download it again')
    if min(everything) < 1 or max(everything) > count:
        raise DataError(f'{path}: names scenes {min(everything)} to {max(everything)}, but {LABELLED} has {count}')
    return splits


def _open(raw: Path):
    """The labelled set; its arrays have the axes of MATLAB in reverse."""
    file = open_hdf5(raw / LABELLED)
    lacking = [key for key in ('images', 'labels', *DEPTHS.values()) if key not in file]
    if lacking:
        raise DataError(f'{raw / LABELLED}: has no {", ".join(lacking)}. Expected the labelled set of NYU Depth v2')
    return file


def convert_scene(raw: Path, out: Path, mapping: np.ndarray, depth: str, crop: bool, number: int) -> None:
    """Convert one scene, unless its files are there.

    Args:
        raw, out: Folders, before and after.
        mapping: Class of each raw label.
        depth: Of `DEPTHS`.
        crop: Whether the mask loses the frame.
        number: Of the scene, from 1.

    Raises:
        DataError: A label that is not in the map.
    """
    name = f'{number:06d}'
    if is_done(out, name):
        return
    with _open(raw) as file:
        picture, labels, metres = (file[key][number - 1] for key in ('images', 'labels', DEPTHS[depth]))
    if labels.max() >= len(mapping):
        raise DataError(f'{raw / LABELLED}: scene {number} has label {labels.max()}, but {MAPPING} maps 1 to '
                        f'{len(mapping) - 1}. Use both of the same release')
    mask = mapping[labels.T]
    if crop:
        mask = mask[_FRAME]
    write_scene_files(out, name, picture_bytes(np.ascontiguousarray(picture.transpose(2, 1, 0))), mask_bytes(mask),
                      depth_bytes(metres.T))


def convert(raw: str | Path, out: str | Path, *, depth: str = 'raw', crop: bool = True, workers: int = 2,
            progress: bool = True) -> Path:
    """Convert the scenes of both splits.

    Args:
        raw: Folder with the three .mat files.
        out: Where to.
        depth: 'raw', with the sensor's holes, or 'filled', as in-painted by the data set's authors.
        crop: Whether masks lose the white frame.
        workers: Processes.
        progress: Show a bar on stderr.

    Returns:
        `out`.

    Raises:
        DataError: Files that are missing or broken, by name.
    """
    raw, out = Path(raw), Path(out)
    mapping = read_mapping(raw / MAPPING)
    with _open(raw) as file:
        splits = read_splits(raw / SPLITS, len(file['images']))
    claim(out, dict(depth=depth, crop=crop))
    run_all(splits['train'] + splits['val'], partial(convert_scene, raw, out, mapping, depth, crop), workers, progress)
    for split, numbers in splits.items():
        write_atomic(out / f'{split}.txt', list_text([f'{number:06d}' for number in numbers]))
    write_atomic(out / 'classes.txt', classes_text(NYU_CLASSES))
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description='Convert NYU Depth v2 to RGB, depth and masks of 40 classes.',
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('raw', metavar='RAW', help=f'folder with {LABELLED}, {SPLITS}, {MAPPING}')
    parser.add_argument('--out', default='data/nyudv2', help='where to')
    parser.add_argument('--depth', choices=tuple(DEPTHS), default='raw', help="the sensor's, or with holes filled")
    parser.add_argument('--no-crop', dest='crop', action='store_false', help='leave the white frame in the masks')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes')
    args = parser.parse_args(argv)
    try:
        out = convert(**vars(args))
    except DataError as error:
        print(f'{parser.prog}: {error}', file=sys.stderr)
        return 1
    print(f'written: {out}/train.txt, {out}/val.txt')
    return 0


if __name__ == '__main__':
    sys.exit(main())
