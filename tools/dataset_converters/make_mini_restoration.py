#!/usr/bin/env python3
"""Make the mini restoration set: drawn textures with low-resolution and rainy versions, in seconds.

Sharp stripes, grids, polygons and strokes, whose details bicubic interpolation blurs and a small network soon learns
to restore. It shows that the parts of a restoration method work together; it ranks nothing. A picture depends on
(seed, split, index) alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.restoration.imresize import imresize  # noqa: E402
from projects.runtime.image_bytes import encode_png  # noqa: E402

SCALES = (2, 3, 4)
TEST_SETS = ('Stripes', 'Shapes')
FINE = 3  # pictures are drawn at FINE times their size and averaged down
STAMP = 'dataset.json'


# ---------------------------------------------------------------------------------------------
# Pictures
# ---------------------------------------------------------------------------------------------
def _colour(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(10, 245, 3)


def _grating(rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Stripes or a grid of two colours, turned by any angle, at points; periods are 5 to 24 pixels of the picture."""
    y, x = y.astype(np.float32), x.astype(np.float32)
    angle, period = np.float32(rng.uniform(0, np.pi)), np.float32(rng.uniform(5, 24) * FINE)
    wave = np.sin(np.float32(2 * np.pi) * (x * np.cos(angle) + y * np.sin(angle)) / period)
    if rng.random() < 0.4:
        period *= np.float32(rng.uniform(0.7, 2))
        wave *= np.sin(np.float32(2 * np.pi) * (y * np.cos(angle) - x * np.sin(angle)) / period)
    return np.where((wave > rng.uniform(-0.5, 0.5))[:, None], _colour(rng), _colour(rng))


def _mask(rng: np.random.Generator, side: int) -> np.ndarray:
    """A polygon, an ellipse or a stroke."""
    mask = np.zeros((side, side), np.uint8)
    kind = rng.integers(3)
    if kind == 0:
        corners = rng.uniform(0, side, 2) + rng.uniform(-0.3, 0.3, (rng.integers(3, 7), 2)) * side
        cv2.fillPoly(mask, [corners.astype(np.int32)], 1)
    elif kind == 1:
        centre, axes = rng.integers(0, side, 2).tolist(), rng.integers(side // 24, side // 4, 2).tolist()
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    else:
        points = rng.integers(0, side, (rng.integers(2, 5), 2)).astype(np.int32)
        cv2.polylines(mask, [points], False, 1, int(rng.integers(1, 5)) * FINE)
    return mask.astype(bool)


def draw(seed: Sequence[int], size: int, kind: str | None = None) -> np.ndarray:
    """Draw one picture.

    Args:
        seed: Whole numbers that determine the picture.
        size: Side in pixels.
        kind: 'Stripes' has striped parts, 'Shapes' plain ones; by default both.

    Returns:
        size x size x 3, RGB, uint8.
    """
    rng, side = np.random.default_rng(seed), size * FINE
    ramp = np.linspace(0, 1, side, dtype=np.float32)[:, None, None]
    canvas = np.ascontiguousarray(np.broadcast_to(
        ramp * _colour(rng) + (1 - ramp) * _colour(rng), (side, side, 3)), dtype=np.float32)
    for _ in range(rng.integers(8, 16)):
        striped = kind == 'Stripes' or kind is None and rng.random() < 0.4
        mask = _mask(rng, side)
        canvas[mask] = _grating(rng, *np.nonzero(mask)) if striped else _colour(rng)
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).round().astype(np.uint8)


def add_rain(image: np.ndarray, seed: Sequence[int]) -> np.ndarray:
    """Light streaks of one direction over a picture: sparse noise, blurred along a line."""
    rng = np.random.default_rng(seed)
    length, angle = int(rng.integers(9, 19)), float(rng.uniform(-45, 45))
    kernel = np.zeros((length, length), np.float32)
    kernel[:, length // 2] = 1
    kernel = cv2.warpAffine(kernel, cv2.getRotationMatrix2D((length // 2, length // 2), angle, 1), (length, length))
    drops = (rng.random(image.shape[:2]) < 0.005).astype(np.float32)
    streaks = cv2.filter2D(drops, -1, kernel).clip(0, 1) * rng.uniform(80, 150)
    return (image + streaks[..., None]).clip(0, 255).round().astype(np.uint8)


# ---------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------
def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(image))


def _write_pairs(folder: Path, name: str, image: np.ndarray) -> None:
    """The picture and its low-resolution versions, named as EDSR's benchmark files."""
    _write(folder / 'HR' / f'{name}.png', image)
    for scale in SCALES:
        _write(folder / f'LR_bicubic/X{scale}' / f'{name}x{scale}.png', imresize(image, 1 / scale))


def _write_set(out: Path, train: int, test: int, size: int, seed: int) -> None:
    for index in range(train):
        image = draw((seed, 0, index), size)
        _write_pairs(out / 'train', f'{index + 1:04d}', image)
        _write(out / 'rain/train' / f'norain-{index + 1:03d}.png', image)
        _write(out / 'rain/train' / f'rain-{index + 1:03d}.png', add_rain(image, (seed, 0, index)))
    for split, kind in enumerate(TEST_SETS, 1):
        for index in range(test):
            image = draw((seed, split, index), size, kind)
            _write_pairs(out / 'benchmark' / kind, f'{kind.lower()}_{index + 1:02d}', image)
            if kind == 'Shapes':
                _write(out / 'rain/test' / f'norain-{index + 1:03d}.png', image)
                _write(out / 'rain/test' / f'rain-{index + 1:03d}.png', add_rain(image, (seed, split, index)))


def generate(out: str | Path = 'data/mini_sr', *, train: int = 32, test: int = 4, size: int = 144, seed: int = 0,
             force: bool = False) -> Path:
    """Make the set in the folder `out`, unless it lies there already with the same arguments.

    It is drawn in a folder beside and moved into place when it is complete.

    Args:
        out: Folder for `train/`, `benchmark/`, `rain/` and `dataset.json`.
        train: Training pictures.
        test: Pictures of each test set.
        size: Side in pixels, a multiple of 12.
        seed: Another seed gives other pictures.
        force: Make it again although it is there.

    Returns:
        `out` as an absolute path.

    Raises:
        ValueError: A number is out of range.
        FileExistsError: `out` is not of this tool's making.
    """
    out = Path(out).resolve()
    if train < 1 or test < 1 or seed < 0 or size < 48 or size % 12:
        raise ValueError(f'train={train}, test={test}, seed={seed}, size={size}: expected at least 1 picture of each, '
                         'seed 0 or more, and a size of 48 or more that 12 divides')
    arguments = dict(train=train, test=test, size=size, seed=seed)
    if out.exists():
        found = json.loads((out / STAMP).read_text()) if (out / STAMP).is_file() else {}
        if found.get('tool') != Path(__file__).name:
            raise FileExistsError(f'{out} exists and was not made by this tool, so it is left alone: choose another '
                                  'folder with --out')
        if found == dict(tool=Path(__file__).name, **arguments) and not force:
            return out
    partial, former = (out.with_name(f'.{out.name}.{word}') for word in ('partial', 'former'))
    for folder in (partial, former):
        shutil.rmtree(folder, ignore_errors=True)
    _write_set(partial, train, test, size, seed)
    (partial / STAMP).write_text(json.dumps(dict(tool=Path(__file__).name, **arguments)) + '\n')
    if out.exists():
        os.replace(out, former)
    os.replace(partial, out)
    shutil.rmtree(former, ignore_errors=True)
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description='Make the mini restoration set: drawn textures, with low-resolution versions for x2, x3 and x4 '
        'and rainy versions. A set that is there with the same arguments is kept.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--out', default='data/mini_sr', help='folder of the set')
    parser.add_argument('--train', type=int, default=32, help='training pictures')
    parser.add_argument('--test', type=int, default=4, help='pictures of each test set')
    parser.add_argument('--size', type=int, default=144, help='side of the pictures, pixels')
    parser.add_argument('--seed', type=int, default=0, help='another seed, other pictures')
    parser.add_argument('--force', action='store_true', help='make it again although it is there')
    args = parser.parse_args(argv)
    try:
        root = generate(args.out, train=args.train, test=args.test, size=args.size, seed=args.seed, force=args.force)
    except (ValueError, FileExistsError) as error:
        print(f'{parser.prog}: {error}', file=sys.stderr)
        return 2
    print(f'{args.train} training pictures and {len(TEST_SETS)} x {args.test} test pictures lie in {root}')
    print(f'  pairs  {root}/train and {root}/benchmark/{{{",".join(TEST_SETS)}}}: HR, LR_bicubic/X2, X3, X4')
    print(f'  rain   {root}/rain/train and {root}/rain/test: rain-NNN.png, norain-NNN.png')
    return 0


if __name__ == '__main__':
    sys.exit(main())
