"""Files of RGB-D segmentation in the layout that TokenFusion reads (arXiv 2204.08721), whatever they are made from.

    rgb/000001.png  depth/000001.png  masks/000001.png  train.txt  val.txt  classes.txt

Depth is 16 bit, value / 5000 = metres, 0 = missing; masks are palette PNGs of class indices, 255 = ignore; a line of a
list is image, mask, depth, separated by tabs.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.runtime.atomic import write_atomic  # noqa: E402
from projects.runtime.errors import DataError  # noqa: E402

DEPTH_UNIT = 5000
"""Steps of a metre."""
IGNORE = 255
NYU_CLASSES = (
    'wall', 'floor', 'cabinet', 'bed', 'chair', 'sofa', 'table', 'door', 'window', 'bookshelf', 'picture', 'counter',
    'blinds', 'desk', 'shelves', 'curtain', 'dresser', 'pillow', 'mirror', 'floor mat', 'clothes', 'ceiling', 'books',
    'refrigerator', 'television', 'paper', 'towel', 'shower curtain', 'box', 'whiteboard', 'person', 'night stand',
    'toilet', 'sink', 'lamp', 'bathtub', 'bag', 'otherstructure', 'otherfurniture', 'otherprop')
FOLDERS = ('rgb', 'masks', 'depth')
"""In the order of a list's columns."""
_OPTIONS = 'prepared.json'


def palette() -> np.ndarray:
    """Colours of 256 indices as in PASCAL VOC, (256, 3) uint8: bits of the index, spread over the high bits."""
    colours = np.zeros((256, 3), dtype=np.uint8)
    for place in range(8):
        for channel in range(3):
            bits = np.arange(256) >> (3 * place + channel) & 1
            colours[:, channel] |= (bits << (7 - place)).astype(np.uint8)
    return colours


def picture_bytes(picture: np.ndarray, suffix: str = '.png') -> bytes:
    """A grey (h, w) or red-green-blue (h, w, 3) picture as PNG or JPEG."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix == '.jpg' else []
    turned = picture[..., ::-1] if picture.ndim == 3 else picture
    return cv2.imencode(suffix, turned, options)[1].tobytes()


def mask_bytes(mask: np.ndarray) -> bytes:
    """Class indices (h, w) as a palette PNG."""
    picture = Image.fromarray(mask.astype(np.uint8), mode='P')
    picture.putpalette(palette().ravel().tolist())
    stream = io.BytesIO()
    picture.save(stream, 'PNG')
    return stream.getvalue()


def depth_bytes(depth: np.ndarray) -> bytes:
    """Depth (h, w) in metres, 0 or not finite for missing, as a 16-bit PNG; beyond 13.1 m it is cut."""
    known = np.where(np.isfinite(depth), depth, 0)
    return picture_bytes(np.clip(np.rint(known * DEPTH_UNIT), 0, 65535).astype(np.uint16))


def list_text(names: Sequence[str], rgb_suffix: str = '.png') -> str:
    """Text of a list of scenes."""
    suffixes = (rgb_suffix, '.png', '.png')
    rows = ('\t'.join(f'{folder}/{name}{suffix}' for folder, suffix in zip(FOLDERS, suffixes, strict=True))
            for name in names)
    return ''.join(f'{row}\n' for row in rows)


def classes_text(classes: Sequence[str]) -> str:
    """Text of classes.txt: a name a line, in the order of the indices."""
    return ''.join(f'{name}\n' for name in classes)


def claim(out: Path, options: dict) -> None:
    """Note in a folder with which options it is made, so that a run that was cut off goes on and another is refused.

    Raises:
        DataError: It was made with other options.
    """
    path = out / _OPTIONS
    if path.is_file():
        found = json.loads(path.read_text())
        if found != options:
            raise DataError(f'{path}: the folder was made with {found}, asked for are {options}. Choose another --out, '
                            'or delete the folder')
        return
    write_atomic(path, json.dumps(options))


def is_done(out: Path, name: str, rgb_suffix: str = '.png') -> bool:
    """Whether a scene's three files are there; files are written in one step, so they are complete."""
    return all((out / folder / f'{name}{suffix}').is_file()
               for folder, suffix in zip(FOLDERS, (rgb_suffix, '.png', '.png'), strict=True))


def write_scene_files(out: Path, name: str, rgb: bytes, mask: bytes, depth: bytes, rgb_suffix: str = '.png') -> None:
    """Write a scene's three files, each in one step."""
    for folder, content, suffix in zip(FOLDERS, (rgb, mask, depth), (rgb_suffix, '.png', '.png'), strict=True):
        write_atomic(out / folder / f'{name}{suffix}', content)


def open_hdf5(path: Path):
    """Open a .mat file of MATLAB 7.3.

    Raises:
        DataError: h5py is missing, or there is no such file, or another one.
    """
    try:
        import h5py
    except ImportError:
        raise DataError(f'{path}: a .mat file of MATLAB 7.3 is read by h5py, which is not installed. Install it: '
                        'pip install h5py') from None
    try:
        return h5py.File(path, 'r')
    except OSError as error:
        raise DataError(f'{path}: cannot be read as a .mat file of MATLAB 7.3 ({error}). Download it again') from error


def read_mat(path: Path, key: str) -> np.ndarray:
    """A variable of a .mat file before MATLAB 7.3, squeezed.

    Raises:
        DataError: No such file, another one, or no such variable.
    """
    from scipy.io import loadmat

    try:
        return loadmat(path, squeeze_me=True, struct_as_record=False)[key]
    except (OSError, ValueError, NotImplementedError) as error:
        raise DataError(f'{path}: cannot be read as a .mat file ({error}). Download it again') from error
    except KeyError:
        raise DataError(f'{path}: has no variable {key!r}. Expected the file of the original download') from None
