#!/usr/bin/env python3
"""Add posed frames to the info files of ScanNet, for detectors that read points and several images.

    python tools/dataset_converters/scannet_frames_to_mmdet3d.py data/scannet --frames 10

DATA holds scannet_infos_SPLIT.pkl (of scannet_to_mmdet3d.py or of mmdet3d) and the frames, in one of two layouts:

- posed_images/SCAN/00000.jpg, 00000.txt (camera to scan, 4 x 4), intrinsic.txt, as mmdet3d's extract_posed_images.py
  leaves them;
- scannet_frames_25k/SCAN/color/000000.jpg, pose/000000.txt, intrinsics_color.txt [inferred].

Written is scannet_frames_infos_SPLIT.pkl: the same entries with `images`, CAM0 to CAM9, each a dict of

- `img_path`: of the frame, relative to DATA;
- `height`, `width`: of the image;
- `depth2img`: 4 x 4, from points after the axis alignment (as the boxes are) to pixels that count from 0:
  K inv(pose) inv(axis_align_matrix).

Frames are drawn at random from those with a valid pose, the same at each run, and stand in the order of time.
"""

from __future__ import annotations

import argparse
import pickle
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

HERE = str(Path(__file__).resolve().parent)
if HERE not in sys.path:  # tools/ is no package, and a test may load this file by its path
    sys.path.append(HERE)
from indoor_infos import DataError, write_atomic  # noqa: E402

SPLITS = ('train', 'val', 'test')
_POSED, _FRAMES_25K = 'posed_images', 'scannet_frames_25k'


def _matrix(path: Path) -> np.ndarray:
    """A 4 x 4 matrix of a text file; a 3 x 3 one is filled up."""
    try:
        matrix = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: cannot be read as a matrix ({error}). Extract the frames again') from error
    if matrix.shape not in ((4, 4), (3, 3)):
        raise DataError(f'{path}: a matrix of {matrix.shape}, expected 4 x 4. Extract the frames again')
    filled = np.eye(4)
    filled[:len(matrix), :len(matrix)] = matrix
    return filled


def list_frames(root: Path, scan: str) -> tuple[Path, list[tuple[Path, Path]]]:
    """The intrinsics' file of a scan, and image and pose of each of its frames, in the order of time.

    Raises:
        DataError: The scan has no folder.
    """
    folder = root / scan
    if (folder / 'color').is_dir():
        images, poses, intrinsics = folder / 'color', folder / 'pose', folder / 'intrinsics_color.txt'
    else:
        images = poses = folder
        intrinsics = folder / 'intrinsic.txt'
    if not intrinsics.is_file():
        raise DataError(f'{intrinsics}: no such file. Extract the frames of {scan}, or take it out of the info file')
    return intrinsics, [(image, poses / f'{image.stem}.txt') for image in sorted(images.glob('*.jpg'))]


def _scaled(intrinsics: np.ndarray, size: tuple[int, int], meant_for: Sequence[int] | None, path: Path) -> np.ndarray:
    """The intrinsics for images of a size (width, height)."""
    matrix = intrinsics.copy()
    if meant_for is not None:
        scale = np.array(size) / meant_for
        matrix[:2, :3] *= scale[:, None]
    middle = matrix[:2, 2] / size
    if (np.abs(middle - .5) > .15).any():
        raise DataError(f'{path}: the principal point {tuple(np.round(matrix[:2, 2], 1).tolist())} is not near the '
                        f'middle of the images, {size[0]} x {size[1]}. If they were resized, give the size that the '
                        'intrinsics belong to: --intrinsic-size W H')
    return matrix


def scan_images(root: Path, scan: str, alignment: np.ndarray, count: int, meant_for: Sequence[int] | None) -> dict:
    """The `images` of a scan.

    Args:
        root: Folder of frames.
        scan: Name of the scan.
        alignment: 4 x 4 axis alignment.
        count: Frames, at most.
        meant_for: Width and height of the images that the intrinsics belong to; None if they are those at hand.

    Raises:
        DataError: No frame has a valid pose, or a file is missing or broken.
    """
    path, frames = list_frames(root, scan)
    intrinsics, found = _matrix(path), []
    order = np.random.default_rng(zlib.crc32(scan.encode())).permutation(len(frames))
    for image, pose_file in (frames[place] for place in order):
        if len(found) == count:
            break
        pose = _matrix(pose_file)
        if np.isfinite(pose).all():  # a frame whose tracking was lost has infinite values
            found.append((image, pose))
    if not found:
        raise DataError(f'{root / scan}: none of {len(frames)} frames has a valid pose. Extract the frames again')
    images = {}
    for number, (image, pose) in enumerate(sorted(found, key=lambda frame: frame[0])):
        with Image.open(image) as picture:
            width, height = picture.size
        matrix = _scaled(intrinsics, (width, height), meant_for, path) @ np.linalg.inv(alignment @ pose)
        images[f'CAM{number}'] = dict(img_path=image.relative_to(root.parent).as_posix(), height=height, width=width,
                                      depth2img=matrix.tolist())
    return images


def convert(data: str | Path, splits: Sequence[str] = ('train', 'val'), frames: int = 10,
            intrinsic_size: Sequence[int] | None = None, progress: bool = True) -> list[Path]:
    """Write the info files with frames.

    Args:
        data: Folder with info files and frames.
        splits: Out of `SPLITS`.
        frames: Frames of a scan, at most.
        intrinsic_size: Width and height of the images that the intrinsics belong to, if the images were resized.
        progress: Show a bar on stderr.

    Returns:
        The files written.

    Raises:
        DataError: Files that are missing or broken, by name.
    """
    from tqdm import tqdm

    data, written = Path(data), []
    root = next((data / name for name in (_POSED, _FRAMES_25K) if (data / name).is_dir()), None)
    if root is None:
        raise DataError(f'{data}: has neither {_POSED}/ nor {_FRAMES_25K}/. Extract the frames, see data/README.md')
    if frames < 1:
        raise DataError(f'frames={frames}: expected 1 or more')
    for split in splits:
        path = data / f'scannet_infos_{split}.pkl'
        try:
            infos = pickle.loads(path.read_bytes())  # of this machine's converter
        except FileNotFoundError:
            raise DataError(f'{path}: no such file. Run scannet_to_mmdet3d.py first') from None
        for info in tqdm(infos['data_list'], desc=split, unit='scan', disable=not progress):
            scan = Path(info['lidar_points']['lidar_path']).stem
            alignment = np.array(info.get('axis_align_matrix', np.eye(4)))
            info['images'] = scan_images(root, scan, alignment, frames, intrinsic_size)
        written.append(data / f'scannet_frames_infos_{split}.pkl')
        write_atomic(written[-1], pickle.dumps(infos, protocol=2))
    return written


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description='Add posed frames to the info files of ScanNet.',
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('data', metavar='DATA', help='folder with scannet_infos_SPLIT.pkl and the frames')
    parser.add_argument('--splits', nargs='+', choices=SPLITS, default=SPLITS[:2])
    parser.add_argument('--frames', type=int, default=10, help='frames of a scan, at most')
    parser.add_argument('--intrinsic-size', type=int, nargs=2, metavar=('W', 'H'),
                        help='size of the images that the intrinsics belong to, if these were resized')
    args = parser.parse_args(argv)
    try:
        written = convert(**vars(args))
    except DataError as error:
        print(f'{parser.prog}: {error}', file=sys.stderr)
        return 1
    print(f'written: {", ".join(map(str, written))}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
