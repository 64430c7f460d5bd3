"""Label maps of segmentation, one number a pixel: what the segmentation tracks write from and check.

They come as a folder of 8-bit PNG files (``tools/test.py CONFIG CHECKPOINT --out FOLDER``) or as
dumped predictions with ``pred_sem_seg``. A folder is read file by file, never as a whole.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import png_files
from .detections import to_array
from .report import Fault, Problems, SubmissionError
from .results_file import load_results

LABEL_FORMATS = ('8-bit grey', '8-bit palette')
_IMAGES = ('.png', '.jpg', '.jpeg')


@dataclass(frozen=True)
class LabelMap:
    """Labels of one image.

    Attributes:
        where: The file or image that they are from, for messages.
        stem: File name without folder and ending.
        load: Function: the labels, (H, W) uint8; raises :class:`Fault` if they are none.
    """

    where: str
    stem: str
    load: Callable[[], np.ndarray]


def read(path: str | Path) -> Path | list[dict]:
    """What the writers take: a folder as it is, or the predictions of a file."""
    return Path(path) if Path(path).is_dir() else load_results(path)


def label_maps(results: str | Path | Iterable[Mapping], problems: Problems) -> list[LabelMap]:
    """The label maps of a folder (searched with its sub-folders) or of predictions, by name.

    Raises:
        SubmissionError: No such folder, or nothing in it.
    """
    if isinstance(results, (str, Path)):
        folder = Path(results)
        if not folder.is_dir():
            raise SubmissionError(folder, ['no such folder; expected one with a PNG per image, as '
                                           'tools/test.py CONFIG CHECKPOINT --out FOLDER writes'])
        found = [LabelMap(str(file), file.stem, lambda file=file: _read_file(file))
                 for file in sorted(folder.rglob('*.png'))]
    else:
        found = list(_of_predictions(results, problems))
    if not found:
        problems.add('no label maps; expected a folder of PNG files, or predictions of tools/test.py')
    return sorted(found, key=lambda entry: entry.stem)


def _read_file(file: Path) -> np.ndarray:
    if file.stat().st_size > png_files.LARGEST_PNG:
        raise Fault(png_files.TOO_LARGE, f'{file.stat().st_size} bytes')
    data = file.read_bytes()
    check_labels(data)
    return png_files.decode(data)[0]


def check_labels(data: bytes) -> tuple[tuple[int, int], str]:
    """Size (width, height) and format of a PNG of labels, by its first bytes.

    Raises:
        Fault: It is none.
    """
    size, kind = png_files.read_header(data)
    if kind not in LABEL_FORMATS:
        raise Fault('expected one 8-bit label a pixel (grey or palette); coloured pictures are no label maps',
                    f'found {kind}')
    return size, kind


def _of_predictions(results: Iterable[Mapping], problems: Problems) -> Iterator[LabelMap]:
    for position, result in enumerate(results):
        part = result.get('pred_sem_seg') if isinstance(result, Mapping) else None
        labels = part.get('data') if isinstance(part, Mapping) else None
        if labels is None or not result.get('img_path'):
            problems.add('each result must be a dict with img_path and pred_sem_seg (is this the dump '
                         'of a segmentation model?)', f'result {position}')
            continue
        where = str(result['img_path'])
        yield LabelMap(where, Path(where).stem, lambda labels=labels: _as_labels(labels))


def _as_labels(values: Any) -> np.ndarray:
    array = to_array(values)
    if array.ndim == 3 and len(array) == 1:
        array = array[0]
    if array.ndim != 2 or not array.size:
        raise Fault('pred_sem_seg must have the shape (1, H, W)', f'found {array.shape}')
    if not (np.isfinite(array).all() and (array == array.round()).all()):
        raise Fault('labels must be whole numbers; pred_sem_seg, not logits')
    if array.min() < 0 or array.max() > 255:
        raise Fault('labels must lie in 0..255', f'found {array.min():g} to {array.max():g}')
    return array.astype(np.uint8)


def image_sizes(folder: str | Path, suffix: str = '') -> dict[str, tuple[int, int]]:
    """Size (width, height) of each image below ``folder`` by its stem; ``suffix`` ends the stems.

    Raises:
        SubmissionError: No such folder, no images, one that cannot be read.
    """
    from PIL import Image
    folder, sizes = Path(folder), {}
    for file in sorted(folder.rglob('*')) if folder.is_dir() else ():
        if file.suffix.lower() in _IMAGES and file.stem.endswith(suffix):
            try:
                with Image.open(file) as image:
                    sizes[file.stem] = image.size
            except OSError as error:
                raise SubmissionError(file, [f'cannot be read as an image ({error}); copy it again '
                                             '(option image_dir)']) from error
    if not sizes:
        raise SubmissionError(folder, [
            f'no such folder, or no images{f" called NAME{suffix}" if suffix else ""} in it; expected '
            'the images of the split (option image_dir)'])
    return sizes


def check_size(name: str, size: tuple[int, int], expected: tuple[int, int] | None,
               problems: Problems) -> None:
    """Note a label map whose size (width, height) is not that of its image."""
    if expected is not None and size != expected:
        problems.add('a label map must have the size of its image; are the labels those of the '
                     'resized image?', f'{name}: {size[0]} x {size[1]}, expected {expected[0]} x '
                     f'{expected[1]}')
