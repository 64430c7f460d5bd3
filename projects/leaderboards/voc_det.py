"""PASCAL VOC detection ("comp3" and "comp4"): writing the result archive.

One text file per class, ``results/VOC2012/Main/comp4_det_test_<class>.txt``, in a gzip'd tar. A
line is ``<image id> <confidence> <left> <top> <right> <bottom>`` with 1-based pixels; a class
without detections keeps its empty file. comp3 is for models trained on VOC data only, comp4 for
any training data but the test images. Sources: this folder's README.
"""
from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .archive_members import PACK_RESULTS
from .archives import checked_name, write_tar_gz
from .detections import ImageDetections, read_detections
from .report import Problems, SubmissionError

VOC_CLASSES = (
    'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow',
    'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa',
    'train', 'tvmonitor')
RESULTS_FIRST = f'the first folder in the archive must be results/; {PACK_RESULTS}'
_SUBJECT = 'predictions for voc-det'
_LINES_AT_ONCE = 4096


def write(results: Iterable[Mapping], out: str | Path, *, name: str, competition: str = 'comp4',
          year: str = '2012', split: str | None = None, image_set: str | Path | None = None,
          classes: Sequence[str] = VOC_CLASSES, box_decimals: int = 2,
          score_decimals: int = 5) -> Path:
    """Write ``<competition>_det_<split>_<name>.tar.gz`` into the folder ``out``.

    mmdet's boxes are 0-based: 1 is added to all four numbers. Boxes are clipped to their image,
    and those that round to no width or height are dropped, each with a counted warning.

    Args:
        results: What mmdet's ``DumpDetResults`` writes; see :func:`load_results`. The image id
            is ``img_id`` if it is text (mmdet's ``VOCDataset``), else the stem of ``img_path``.
        out: Folder for the archive; made if missing.
        name: Name of the algorithm, without spaces.
        competition: 'comp3' or 'comp4'.
        year: Year of the data set, in the folder's name.
        split: Split in the files' names; default: the stem of ``image_set``, or 'test'.
        image_set: ``ImageSets/Main/test.txt``, to check the image ids against.
        classes: The model's classes, in the order of its labels.
        box_decimals: Decimals of box numbers.
        score_decimals: Decimals of confidences.

    Raises:
        SubmissionError: Unknown or repeated image ids, labels outside the classes, numbers that
            are not finite, names that cannot be file names. Nothing is left at the archive's
            place.
    """
    split = checked_name(split or default_split(image_set), 'split')
    pattern = file_pattern(checked_competition(competition), checked_name(str(year), 'year'), split)
    path = Path(out) / f'{competition}_det_{split}_{checked_name(name, "name")}.tar.gz'
    check_classes(classes)
    images = _read(results, len(classes), read_image_set(image_set))
    columns = _Columns(images, box_decimals)
    # The tar is written class by class in sorted order, each file's lines made when they are due.
    write_tar_gz(path, ((pattern.format(classes[label]),
                         columns.lines(label, box_decimals, score_decimals))
                        for label in _progress(classes)))
    columns.warn()
    return path


def file_pattern(competition: str, year: str, split: str) -> str:
    """Path of a class's file in the archive, with ``{}`` for the class."""
    return f'results/VOC{year}/Main/{competition}_det_{split}_{{}}.txt'


def default_split(image_set: str | Path | None) -> str:
    """'test', or the name of the image set."""
    return 'test' if image_set is None else Path(image_set).stem


def checked_competition(competition: str) -> str:
    """``competition`` if it is one of the two that detection has."""
    if competition not in ('comp3', 'comp4'):
        raise SubmissionError('option competition', [
            f'{competition!r}; expected comp3 (trained on VOC data only) or comp4 (any data but '
            'the test images)'])
    return competition


def check_classes(classes: Sequence[str]) -> None:
    """Class names end up in file names: no spaces, no slashes, none twice."""
    bad = [name for name in classes if not re.fullmatch(r'[^\s/]+', name)]
    bad += sorted({name for name in classes if list(classes).count(name) > 1})
    if bad or not classes:
        raise SubmissionError('option classes', [
            f'{bad}; expected distinct names without spaces or slashes'])


def read_image_set(path: str | Path | None) -> dict[str, None] | None:
    """Image ids of a split, in order; the first word of each line counts.

    Raises:
        SubmissionError: The file is missing or empty.
    """
    if path is None:
        return None
    path = Path(path)
    if not path.is_file():
        raise SubmissionError(path, ['no such image set; expected a file like '
                                     'VOC2012/ImageSets/Main/test.txt (option image_set)'])
    ids = {line.split()[0]: None for line in path.read_text().splitlines() if line.strip()}
    if not ids:
        raise SubmissionError(path, ['an empty image set; expected one image id per line'])
    return ids


def _progress(classes: Sequence[str]) -> Iterator[int]:
    order = sorted(range(len(classes)), key=lambda label: classes[label])
    return iter(tqdm(order, desc='writing', unit='class', disable=None))


def _image_id(image: ImageDetections) -> str:
    return image.img_id if isinstance(image.img_id, str) else Path(image.img_path).stem


def _read(results: Iterable[Mapping], num_classes: int,
          known: dict[str, None] | None) -> list[tuple[str, ImageDetections]]:
    problems = Problems(_SUBJECT)
    images: dict[str, ImageDetections] = {}
    for image in read_detections(results, num_classes, problems):
        key = _image_id(image)
        if not key or re.search(r'\s', key):
            problems.add('an image id must be a word without spaces, from img_id or the stem of '
                         'img_path', f'{image.img_id!r}, {image.img_path!r}')
        elif known is not None and key not in known:
            problems.add('an image id must be in the image set; pass the one of the split that '
                         'was tested', repr(key))
        elif key in images:
            problems.add('an image appears more than once', repr(key))
        images[key] = image
    problems.raise_if_any()
    return sorted(images.items())


class _Columns:
    """All detections of a set as arrays, to be picked class by class."""

    def __init__(self, images: list[tuple[str, ImageDetections]], decimals: int) -> None:
        self.names = [name for name, _ in images]
        self.clipped = self.degenerate = 0
        kept = [self._prepare(image, decimals) for _, image in images]
        counts = [len(image.scores) for image in kept]
        self.image = np.repeat(np.arange(len(kept)), counts)
        self.boxes = np.concatenate([image.boxes for image in kept] or [np.zeros((0, 4))])
        self.scores = np.concatenate([image.scores for image in kept] or [np.zeros(0)])
        self.labels = np.concatenate([image.labels for image in kept] or [np.zeros(0, int)])

    def _prepare(self, image: ImageDetections, decimals: int) -> ImageDetections:
        """Clipped, 1-based, rounded boxes, best first."""
        boxes = image.boxes
        if image.ori_shape is not None:
            height, width = image.ori_shape
            boxes = boxes.clip(0, [width, height, width, height])
            moved = np.abs(boxes - image.boxes).max(axis=1, initial=0) > 10.0 ** -decimals
            self.clipped += int(moved.sum())
        boxes = (boxes + 1).round(decimals)
        valid = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        self.degenerate += int((~valid).sum())
        return image.replace_boxes(boxes).pick(valid).best()

    def lines(self, label: int, box_decimals: int, score_decimals: int) -> Iterator[bytes]:
        """The lines of one class, some thousands in a piece."""
        line = f'%s %.{score_decimals}f' + f' %.{box_decimals}f' * 4 + '\n'
        chosen = np.flatnonzero(self.labels == label)
        for start in range(0, len(chosen), _LINES_AT_ONCE):
            index = chosen[start:start + _LINES_AT_ONCE]
            rows = zip(self.image[index].tolist(), self.scores[index].tolist(),
                       self.boxes[index].tolist(), strict=True)
            yield ''.join(line % (self.names[image], score, *box) for image, score, box in rows).encode()

    def warn(self) -> None:
        """Tell what was changed on the way."""
        if self.clipped:
            warnings.warn(f'{self.clipped} boxes reached out of their images and were clipped',
                          stacklevel=3)
        if self.degenerate:
            warnings.warn(f'{self.degenerate} boxes without width or height after clipping and '
                          'rounding were dropped', stacklevel=3)
