#!/usr/bin/env python3
"""Convert SUN RGB-D to the layout that TokenFusion reads, 37 classes.

    python tools/dataset_converters/sunrgbd_to_rgbd.py data/sunrgbd_raw --out data/sunrgbd_rgbd

RAW is one of two:

- lists: train37.txt and test37.txt, of lines "image depth label" with paths relative to RAW and labels as PNGs, 0 for
  void. Where a label is missing, the one numbered 5050 higher is read: a common archive of labels counts test images
  from 1 and training images from 5051.
- the release: SUNRGBD/ and SUNRGBDtoolbox/, with Metadata/SUNRGBDMeta.mat, Metadata/SUNRGBD2Dseg.mat (MATLAB 7.3: needs
  h5py) and traintestSUNRGBD/allsplit.mat.

Depth PNGs hold millimetres with the three lowest bits rotated to the top; beyond 8 m they are cut. Test images, which
become val, are numbered from 000001, training images go on from there. A run that was cut off is simply started again.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
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
    read_mat,
    write_atomic,
    write_scene_files,
)

_SPELLING = dict(refrigerator='fridge', television='tv')
CLASSES = tuple(_SPELLING.get(name, name) for name in NYU_CLASSES[:37])
LONGEST = 8.
"""Metres."""
_TOOLBOX = Path('SUNRGBDtoolbox')
_FIRST_TRAIN = 5050


@dataclass(frozen=True)
class Sample:
    """A scene to convert: its new name, its files, and the label's file or its place in SUNRGBD2Dseg.mat."""

    name: str
    image: Path
    depth: Path
    label: Path
    place: int | None = None

    def __str__(self) -> str:
        return f'{self.name} ({self.image})'


def decode_depth(stored: np.ndarray) -> np.ndarray:
    """Metres of a depth PNG of SUN RGB-D, (h, w) uint16; 0 stays 0."""
    turned = (stored >> 3) | (stored << 13)
    return np.minimum(turned / 1000, LONGEST)


def _label_path(path: Path) -> Path:
    """A label's file, or the one numbered 5050 higher."""
    match = re.search(r'(\d+)$', path.stem)
    if path.is_file() or match is None:
        return path
    digits = match[1]
    return path.with_name(f'{path.stem[:match.start()]}{int(digits) + _FIRST_TRAIN:0{len(digits)}d}{path.suffix}')


def _from_lists(raw: Path) -> dict[str, list[tuple]]:
    """Image, depth, label of each sample, by split."""
    found: dict[str, list[tuple]] = {}
    for split, name in (('val', 'test37.txt'), ('train', 'train37.txt')):
        path = raw / name
        lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
        for number, parts in enumerate(lines, 1):
            if len(parts) != 3:
                raise DataError(f'{path}: line {number} has {len(parts)} columns, expected image, depth and label')
        found[split] = [(raw / image, raw / depth, _label_path(raw / label), None) for image, depth, label in lines]
    return found


def _from_release(raw: Path, refined: bool) -> dict[str, list[tuple]]:
    """The same of the release; scenes are told by the folder that their image's path names."""
    toolbox = raw / _TOOLBOX
    split_file = toolbox / 'traintestSUNRGBD/allsplit.mat'
    training = {_scene(str(path)) for path in np.atleast_1d(read_mat(split_file, 'alltrain'))}
    testing = {_scene(str(path)) for path in np.atleast_1d(read_mat(split_file, 'alltest'))}
    found: dict[str, list[tuple]] = dict(val=[], train=[])
    labels = toolbox / 'Metadata/SUNRGBD2Dseg.mat'
    for place, meta in enumerate(np.atleast_1d(read_mat(toolbox / 'Metadata/SUNRGBDMeta.mat', 'SUNRGBDMeta'))):
        image = Path(str(meta.rgbpath))
        scene = _scene(str(image.parents[1]))
        folder = raw / 'SUNRGBD' / scene
        depth = folder / ('depth_bfx' if refined else 'depth') / Path(str(meta.depthpath)).name
        for split, names in (('train', training), ('val', testing)):
            if scene in names:
                found[split].append((folder / 'image' / image.name, depth, labels, place))
    return found


def _scene(path: str) -> str:
    """A scene's folder below SUNRGBD/, of a path on the authors' disk."""
    return path.split('SUNRGBD/', 1)[-1].strip('/')


def read_samples(raw: Path, refined: bool) -> dict[str, list[Sample]]:
    """The samples of train and val.

    Raises:
        DataError: RAW is neither of the two layouts, or a split is empty.
    """
    if (raw / 'test37.txt').is_file() and (raw / 'train37.txt').is_file():
        found = _from_lists(raw)
    elif (raw / _TOOLBOX).is_dir():
        found = _from_release(raw, refined)
    else:
        raise DataError(f'{raw}: expected train37.txt and test37.txt, or SUNRGBD/ and {_TOOLBOX}/. See data/README.md')
    empty = [split for split, samples in found.items() if not samples]
    if empty:
        raise DataError(f'{raw}: no samples for {" and ".join(empty)}. Check the lists, or allsplit.mat')
    first = dict(val=1, train=len(found['val']) + 1)
    return {split: [Sample(f'{number:06d}', *paths) for number, paths in enumerate(found[split], first[split])]
            for split in ('train', 'val')}


def _read(path: Path, what: str) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None:
        reason = 'cannot be decoded' if path.is_file() else 'no such file'
        raise DataError(f'{path}: {reason}. Expected the {what} of a scene')
    return picture


def _read_label(sample: Sample) -> np.ndarray:
    """Labels (h, w), 0 for void."""
    if sample.place is None:
        return _read(sample.label, 'label')
    with open_hdf5(sample.label) as file:
        return file[file['SUNRGBD2Dseg']['seglabel'][sample.place][0]][()].T


def convert_sample(out: Path, sample: Sample) -> None:
    """Convert a scene, unless its files are there.

    Raises:
        DataError: A file is missing or broken, or sizes or labels do not fit.
    """
    suffix = sample.image.suffix
    if is_done(out, sample.name, suffix):
        return
    image, depth, label = _read(sample.image, 'image'), _read(sample.depth, 'depth'), _read_label(sample)
    if depth.dtype != np.uint16 or depth.ndim != 2:
        raise DataError(f'{sample.depth}: {depth.dtype} with {depth.ndim} axes, expected a grey PNG of 16 bit')
    if not image.shape[:2] == depth.shape == label.shape:
        raise DataError(f'{sample.image}: image {image.shape[:2]}, depth {depth.shape}, label {label.shape} (height, '
                        'width) differ. Expected files of one scene')
    if label.max() > len(CLASSES):
        raise DataError(f'{sample.label}: label {label.max()} of {sample.name}, expected 0 to {len(CLASSES)}')
    mask = np.append(IGNORE, np.arange(len(CLASSES))).astype(np.uint8)[label]
    write_scene_files(out, sample.name, sample.image.read_bytes(), mask_bytes(mask), depth_bytes(decode_depth(depth)),
                      suffix)


def convert(raw: str | Path, out: str | Path, *, depth: str = 'raw', workers: int = 2, progress: bool = True) -> Path:
    """Convert both splits.

    Args:
        raw: Folder in one of the two layouts.
        out: Where to.
        depth: 'raw' or 'refined' (depth_bfx) of the release; lists name their own.
        workers: Processes.
        progress: Show a bar on stderr.

    Returns:
        `out`.

    Raises:
        DataError: Files that are missing or broken, by name.
    """
    raw, out = Path(raw), Path(out)
    splits = read_samples(raw, depth == 'refined')
    claim(out, dict(depth=depth))
    run_all(splits['train'] + splits['val'], partial(convert_sample, out), workers, progress)
    for split, samples in splits.items():
        text = ''.join(list_text([sample.name], sample.image.suffix) for sample in samples)
        write_atomic(out / f'{split}.txt', text)
    write_atomic(out / 'classes.txt', classes_text(CLASSES))
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description='Convert SUN RGB-D to RGB, depth and masks of 37 classes.',
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('raw', metavar='RAW', help='folder with train37.txt and test37.txt, or with the release')
    parser.add_argument('--out', default='data/sunrgbd_rgbd', help='where to')
    parser.add_argument('--depth', choices=('raw', 'refined'), default='raw', help="of the release: the sensor's, or "
                        'with holes filled')
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
