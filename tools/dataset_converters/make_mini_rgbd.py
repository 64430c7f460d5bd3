#!/usr/bin/env python3
"""Make the mini RGB-D set: drawn rooms, seen by a depth camera, as NYUDv2, as Taskonomy and as SUN RGB-D.

    python tools/dataset_converters/make_mini_rgbd.py --out data/mini/rgbd

A stand-in for the three sets of TokenFusion (arXiv 2204.08721): the layouts, names and units of the originals, at a
fraction of the pixels, and the same scenes in all three. Some classes show in colour alone, some nearly in depth alone;
which, and why, stands in mini_rgbd_scenes.py. It ranks no methods.

A scene depends on (seed, split, index) alone.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from tqdm import tqdm

HERE = str(Path(__file__).resolve().parent)
if HERE not in sys.path:  # tools/ is no package, and a test may load this file by its path
    sys.path.append(HERE)
from drawn_sets import make_folder  # noqa: E402
from mini_rgbd_files import make_folders, write_lists, write_scene  # noqa: E402
from mini_rgbd_scenes import draw_room  # noqa: E402

_SOURCES = ('make_mini_rgbd.py', 'mini_rgbd_files.py', 'mini_rgbd_render.py', 'mini_rgbd_scenes.py', 'mini_rooms.py',
            'rgbd_files.py')
_LEAST = 32


def _arguments(train: int, val: int, size: Sequence[int], square: int, points: int, seed: int, workers: int) -> dict:
    if train < 1 or val < 1 or train + val > 999999:
        raise ValueError(f'train={train}, val={val}: expected at least 1 scene in each split, at most 999999 together')
    if len(size) != 2 or min(*size, square) < _LEAST:
        raise ValueError(f'size={tuple(size)}, square={square}: expected sides of {_LEAST} pixels or more')
    if points < 1 or seed < 0 or workers < 1:
        raise ValueError(f'points={points}, seed={seed}, workers={workers}: expected points >= 1, seed >= 0 and '
                         'workers >= 1')
    source = b''.join((Path(HERE) / name).read_bytes() for name in _SOURCES)
    return dict(train=train, val=val, size=list(size), square=square, points=points, seed=seed,
                source=hashlib.sha256(source).hexdigest()[:16])


def _make(root: Path, arguments: dict, job: tuple[int, int, int]) -> dict:
    number, split, index = job
    key = (arguments['seed'], split, index)
    return write_scene(root, number, draw_room(key), (*key, 1), tuple(arguments['size']), arguments['square'],
                       arguments['points'])


def _write_all(root: Path, arguments: dict, workers: int, progress: bool) -> None:
    train, val = arguments['train'], arguments['val']
    splits = dict(train=range(1, train + 1), val=range(train + 1, train + val + 1))
    jobs = [(number, part, index) for part, numbers in enumerate(splits.values())
            for index, number in enumerate(numbers)]
    make, infos = partial(_make, root, arguments), []
    with tqdm(total=len(jobs), desc='mini RGB-D set', unit='scene', disable=not progress) as bar:
        if workers == 1:
            for job in jobs:
                infos.append(make(job))
                bar.update()
        else:
            with ProcessPoolExecutor(workers) as pool:
                for info in pool.map(make, jobs):
                    infos.append(info)
                    bar.update()
    write_lists(root, splits, dict(train=infos[:train], val=infos[train:]))


def generate(out: str | Path = 'data/mini/rgbd', *, train: int = 160, val: int = 48, size: Sequence[int] = (128, 96),
             square: int = 64, points: int = 4096, seed: int = 0, workers: int = 2, force: bool = False,
             progress: bool = True) -> Path:
    """Make the set in the folder `out`, unless it lies there already with the same arguments.

    It is drawn in a folder beside and moved into place when it is complete. A set that this tool made is replaced as a
    whole.

    Args:
        out: Folder for `nyu/`, `taskonomy/`, `sunrgbd/` and `dataset.json`.
        train, val: Number of scenes in each split.
        size: Width and height of the images of nyu and sunrgbd, at least 32.
        square: Side of the images of taskonomy, at least 32.
        points: Points of a scene in sunrgbd, at most; no more than the depth image has.
        seed: Another seed gives other scenes. Same arguments, same bytes (on one machine).
        workers: Processes that draw; without influence on the scenes.
        force: Make it again although it is there.
        progress: Show a progress bar on stderr.

    Returns:
        `out` as an absolute path.

    Raises:
        ValueError: A number is out of range.
        FileExistsError: `out` has other things in it and was not made by this tool.
    """
    out = Path(out).resolve()
    arguments = _arguments(train, val, tuple(int(side) for side in size), square, points, seed, workers)

    def fill(root: Path) -> None:
        make_folders(root)
        _write_all(root, arguments, workers, progress)

    return make_folder(out, arguments, fill, force, also='nyu')


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description='Make the mini RGB-D set: drawn rooms seen by a depth camera, as NYUDv2, Taskonomy and SUN RGB-D. '
        'A set that is there with the same arguments is kept.', formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--out', default='data/mini/rgbd', help='folder for nyu/, taskonomy/, sunrgbd/')
    parser.add_argument('--train', type=int, default=160, help='training scenes')
    parser.add_argument('--val', type=int, default=48, help='validation scenes')
    parser.add_argument('--size', type=int, nargs=2, default=(128, 96), metavar=('W', 'H'),
                        help='width and height of the images of nyu and sunrgbd, pixels')
    parser.add_argument('--square', type=int, default=64, help='side of the images of taskonomy, pixels')
    parser.add_argument('--points', type=int, default=4096, help='points of a scene in sunrgbd')
    parser.add_argument('--seed', type=int, default=0, help='another seed, other scenes')
    parser.add_argument('--workers', type=int, default=2, help='processes; they do not change the scenes')
    parser.add_argument('--force', action='store_true', help='make it again although it is there')
    args = parser.parse_args(argv)
    try:
        root = generate(**vars(args))
    except (ValueError, FileExistsError) as error:
        print(f'{parser.prog}: {error}', file=sys.stderr)
        return 2
    print(f'{args.train} training and {args.val} validation scenes lie in {root}')
    print(f'  segmentation  {root}/nyu/{{train,val}}.txt')
    print(f'  translation   {root}/taskonomy/{{train,val}}_domain.txt')
    print(f'  detection     {root}/sunrgbd/sunrgbd_infos_{{train,val}}.pkl')
    return 0


if __name__ == '__main__':
    sys.exit(main())
