#!/usr/bin/env python3
"""Prepare super-resolution data: low-resolution images by MATLAB's rule, and sub-images that load quickly.

    python tools/dataset_converters/prepare_sr.py lr data/sr/benchmark/Urban100/HR data/sr/benchmark/Urban100/LR_bicubic
    python tools/dataset_converters/prepare_sr.py sub data/sr/DIV2K

`lr` writes OUT/X2/NAMEx2.png and so on, as EDSR's benchmark files. `sub` cuts DIV2K into overlapping squares, named and
listed as BasicSR does, so that a training step does not decode whole 2K images. Files that are there stay, so a run
that was cut off is simply started again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.restoration.image_files import IMAGE_SUFFIXES, read_image  # noqa: E402
from projects.restoration.imresize import BORDERS, imresize  # noqa: E402
from projects.runtime.errors import DataError  # noqa: E402
from projects.runtime.image_bytes import encode_png  # noqa: E402


def _write(path: Path, image: np.ndarray) -> None:
    """Write a PNG in one step; not synchronised, since there are tens of thousands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}')
    temporary.write_bytes(encode_png(image))
    os.replace(temporary, path)


def _images(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.glob('*') if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise DataError(f'{folder}: no such folder, or no image in it')
    return files


# ---------------------------------------------------------------------------------------------
# Low-resolution images
# ---------------------------------------------------------------------------------------------
def write_low_resolution(path: Path, out: Path, scales: Sequence[int], border: str) -> int:
    """Write the low-resolution versions of one image that are missing; how many.

    The image is cut from the top left to a multiple of the scale first.
    """
    targets = {scale: out / f'X{scale}' / f'{path.stem}x{scale}.png' for scale in scales}
    targets = {scale: target for scale, target in targets.items() if not target.exists()}
    image = read_image(str(path)) if targets else None
    for scale, target in targets.items():
        height, width = (side - side % scale for side in image.shape[:2])
        _write(target, imresize(image[:height, :width], 1 / scale, border=border))
    return len(targets)


# ---------------------------------------------------------------------------------------------
# Sub-images
# ---------------------------------------------------------------------------------------------
def grid(length: int, size: int, step: int) -> list[int]:
    """Where squares of `size` begin along a side: every `step`, and one that ends with the image.

    Raises:
        DataError: the side is shorter than a square.
    """
    if length < size:
        raise DataError(f'a side of {length} pixels is shorter than a sub-image of {size}')
    starts = list(range(0, length - size + 1, step))
    return starts if starts[-1] + size == length else [*starts, length - size]


def write_sub_images(path: Path, root: Path, scales: Sequence[int], size: int, step: int) -> list[str]:
    """Cut one image of DIV2K, and its low-resolution versions, into squares; their names.

    Raises:
        DataError: a low-resolution image is missing or of a size that does not match.
    """
    low = {scale: read_image(str(root / f'DIV2K_train_LR_bicubic/X{scale}' / f'{path.stem}x{scale}.png'))
           for scale in scales}
    image = read_image(str(path))
    for scale, small in low.items():
        if any(side // scale != part for side, part in zip(image.shape[:2], small.shape[:2], strict=True)):
            raise DataError(f'{path} has {image.shape[1]} x {image.shape[0]} pixels, its x{scale} version '
                            f'{small.shape[1]} x {small.shape[0]}: they do not belong together')
    unit = int(np.lcm.reduce(list(scales), initial=1))
    height, width = (side - side % unit for side in image.shape[:2])
    names = []
    for top in grid(height, size, step):
        for left in grid(width, size, step):
            names.append(f'{path.stem}_s{len(names) + 1:03d}.png')
            parts = {root / 'DIV2K_train_HR_sub': (image, 1)} | {
                root / f'DIV2K_train_LR_bicubic/X{scale}_sub': (small, scale) for scale, small in low.items()}
            for folder, (source, scale) in parts.items():
                if not (folder / names[-1]).exists():
                    _write(folder / names[-1], source[top // scale:(top + size) // scale,
                                                      left // scale:(left + size) // scale])
    return names


# ---------------------------------------------------------------------------------------------
# Command line
# ---------------------------------------------------------------------------------------------
def _run(function, files: Sequence[Path], workers: int, label: str) -> Iterable:
    from tqdm import tqdm

    if workers <= 1:
        return [function(path) for path in tqdm(files, desc=label, unit='img', mininterval=1)]
    with ProcessPoolExecutor(workers) as pool:
        return list(tqdm(pool.map(function, files), total=len(files), desc=label, unit='img', mininterval=1))


def low_resolution(args: argparse.Namespace) -> str:
    """The command `lr`."""
    function = partial(write_low_resolution, out=args.out, scales=args.scales, border=args.border)
    written = sum(_run(function, _images(args.hr), args.workers, 'low resolution'))
    return f'{written} images written to {args.out}/X{{{",".join(map(str, args.scales))}}}'


def sub_images(args: argparse.Namespace) -> str:
    """The command `sub`."""
    if args.size % np.lcm.reduce(args.scales) or args.step % np.lcm.reduce(args.scales):
        raise DataError(f'--size {args.size} --step {args.step}: expected multiples of the scales {args.scales}')
    files = [path for path in _images(args.root / 'DIV2K_train_HR') if path.stem.isdigit() and int(path.stem) <= 800]
    function = partial(write_sub_images, root=args.root, scales=args.scales, size=args.size, step=args.step)
    names = [name for part in _run(function, files, args.workers, 'sub-images') for name in part]
    listing = args.root / 'meta_info_DIV2K800sub_GT.txt'
    temporary = listing.with_suffix('.partial')
    temporary.write_text(''.join(f'{name} ({args.size},{args.size},3)\n' for name in names))
    os.replace(temporary, listing)
    return f'{len(names)} sub-images of {len(files)} images in {args.root}/DIV2K_train_HR_sub and ' \
           f'DIV2K_train_LR_bicubic/X{{{",".join(map(str, args.scales))}}}_sub, listed in {listing.name}'


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    low = commands.add_parser('lr', help='low-resolution images of a folder')
    low.add_argument('hr', type=Path, help='folder of high-resolution images')
    low.add_argument('out', type=Path, help='folder for X2/, X3/ and X4/')
    low.add_argument('--border', choices=BORDERS, default='symmetric',
                     help='rule at the border: newer MATLAB, EDSR (symmetric, the default) or older, RCAN (replicate)')
    low.set_defaults(command=low_resolution)
    sub = commands.add_parser('sub', help='sub-images of DIV2K')
    sub.add_argument('root', type=Path, help='folder with DIV2K_train_HR/ and DIV2K_train_LR_bicubic/X2/...')
    sub.add_argument('--size', type=int, default=480, help='side of a sub-image (default: 480)')
    sub.add_argument('--step', type=int, default=240, help='distance of sub-images (default: 240)')
    sub.set_defaults(command=sub_images)
    for command in (low, sub):
        command.add_argument('--scales', type=int, nargs='+', default=[2, 3, 4], help='default: 2 3 4')
        command.add_argument('--workers', type=int, default=2, help='processes (default: 2)')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    args = parse_args(argv)
    try:
        print(args.command(args))
    except DataError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
