"""The values of COCO detections, checked some thousands at a time, so that a file of any length takes the same memory.

Beside what the evaluation code refuses: the mistakes that it lets pass with an AP of zero. Contiguous labels for
category ids, corners for width and height, and boxes of the resized image show in all entries together, so they are
counted on the way and judged at the end. Sources: this folder's README.
"""
from __future__ import annotations

import math
import re

import numpy as np

from .coco_annotations import COCO_CATEGORY_IDS, CocoAnnotations
from .report import EXAMPLES_PER_PROBLEM, Problems

MAX_PER_IMAGE = 100
_BLOCK = 1 << 14  # entries that are checked together
_MOST_IMAGES = 1_000_000  # ids that are remembered; all of COCO has some 290,000 images
_TOLERANCE = 2.0  # pixels that a box may reach beyond its image without a word
# Boxes that are not clipped may end a little outside. Corners taken for sizes, or boxes of a
# resized image, put a large share of them (_MANY) far outside (_FAR times the image's size).
_FAR, _MANY = 1.2, 0.1


class _Found:
    """Entries of one kind: how many, and the first few."""

    def __init__(self) -> None:
        self.count, self.examples = 0, []

    def add(self, bad: np.ndarray, numbers: np.ndarray, values: np.ndarray) -> None:
        """Note the entries of a block where ``bad`` holds, with their ``values``."""
        index = np.flatnonzero(bad)
        self.count += len(index)
        for i in index[:EXAMPLES_PER_PROBLEM - len(self.examples)]:
            self.examples.append(f'entry {numbers[i]}: {values[i].tolist()}')

    def report(self, kind: str, problems: Problems) -> None:
        """Hand the entries over as problems."""
        for example in self.examples:
            problems.add(kind, example)
        if self.count > len(self.examples):
            problems.add(kind, count=self.count - len(self.examples))


class ValueChecks:
    """Collects entries of a good form, and checks ids and numbers.

    Args:
        annotations: Images and categories of the split, or None.
        split: The split that the file's name says, or None.
        problems: Receives what is wrong, at the end.

    Attributes:
        entries: Number of entries.
    """

    def __init__(self, annotations: CocoAnnotations | None, split: str | None, problems: Problems) -> None:
        self.annotations, self.problems, self.entries = annotations, problems, 0
        if annotations is not None:
            self.allowed, self.source = annotations.category_ids(), annotations.path.name
        elif split is not None and re.fullmatch(r'(train|val|test(-\w+)?)20\d\d', split):
            self.allowed, self.source = list(COCO_CATEGORY_IDS), 'the 80 ids of COCO'
        else:
            self.allowed = None
        self._block: list[tuple] = []
        self._counts: dict[int, int] = {}
        self._found = {name: _Found() for name in ('bbox', 'score', 'flat', 'category', 'image', 'far')}
        self._categories = [math.inf, -math.inf]
        self._outside = self._as_corners = 0

    def add(self, number: int, image_id: int, category_id: int, bbox: list, score: float) -> None:
        """Take an entry; ``number`` is its place in the file."""
        self._block.append((number, image_id, category_id, bbox, score))
        if len(self._block) == _BLOCK:
            self._flush()

    @property
    def images(self) -> int:
        """Number of images with entries."""
        return len(self._counts)

    def _flush(self) -> None:
        if not self._block:
            return
        numbers, images, categories, boxes, scores = zip(*self._block, strict=True)
        self._block = []
        numbers, images, categories = (np.array(column, np.int64) for column in (numbers, images, categories))
        boxes, scores = np.array(boxes, np.float64), np.array(scores, np.float64)
        self.entries += len(numbers)
        finite = np.isfinite(boxes).all(axis=1)
        self._found['bbox'].add(~finite, numbers, boxes)
        self._found['score'].add(~np.isfinite(scores), numbers, scores)
        self._found['flat'].add(finite & (boxes[:, 2:] <= 0).any(axis=1), numbers, boxes)
        if self.allowed is not None:
            self._found['category'].add(~np.isin(categories, self.allowed), numbers, categories)
            self._categories = [min(self._categories[0], categories.min()), max(self._categories[1], categories.max())]
        self._count_images(numbers, images)
        if self.annotations is not None:
            self._measure(numbers, images, boxes)

    def _count_images(self, numbers: np.ndarray, images: np.ndarray) -> None:
        ids, counts = np.unique(images, return_counts=True)
        if self.annotations is not None:
            known = np.array([number in self.annotations.sizes for number in ids.tolist()])
            self._found['image'].add(~np.isin(images, ids[known]), numbers, images)
            ids, counts = ids[known], counts[known]
        for number, count in zip(ids.tolist(), counts.tolist(), strict=True):
            if number in self._counts or len(self._counts) < _MOST_IMAGES:
                self._counts[number] = self._counts.get(number, 0) + count
            else:
                self.problems.add(f'entries of more than {_MOST_IMAGES} images; is it a file of COCO?')

    def _measure(self, numbers: np.ndarray, images: np.ndarray, boxes: np.ndarray) -> None:
        """Compare boxes with their images."""
        nowhere = (math.inf, math.inf)  # size not known: nothing lies outside
        sizes = np.array([self.annotations.sizes.get(number) or nowhere for number in images.tolist()], np.float64)
        first, second = boxes[:, :2], boxes[:, 2:]
        with np.errstate(invalid='ignore', over='ignore'):
            last = np.nan_to_num(first + second, nan=0, posinf=0)  # such boxes are reported already
        self._outside += int(((first < -_TOLERANCE) | (last > sizes + _TOLERANCE)).any(axis=1).sum())
        self._as_corners += int(((second > first) & (second <= sizes + _TOLERANCE)).all(axis=1).sum())
        self._found['far'].add((last > _FAR * sizes).any(axis=1), numbers, boxes)

    def finish(self, warnings: list[str]) -> None:
        """Judge what was collected."""
        self._flush()
        if not self.entries:
            return
        for name in ('bbox', 'score'):
            self._found[name].report(f'{name} must be finite; NaN and Infinity are no JSON, find out where the model '
                                     'yields them', self.problems)
        self._found['flat'].report('bbox must have a width and height above 0 ([x, y, width, height]); drop such boxes',
                                   self.problems)
        self._judge_categories(warnings)
        if self.annotations is None:
            warnings.append('image ids and box positions were not checked: pass the annotation file of the split '
                            '(option ann_file)')
        else:
            self._judge_images(warnings)
            self._judge_extent(warnings)
        crowded = [count for count in self._counts.values() if count > MAX_PER_IMAGE]
        if crowded:
            warnings.append(f'{len(crowded)} images have more than {MAX_PER_IMAGE} detections (at most '
                            f'{max(crowded)}), the most that the organisers ask for; the rest does not raise AP')

    def _judge_categories(self, warnings: list[str]) -> None:
        if self.allowed is None:
            warnings.append('category ids were not checked: pass the annotation file (ann_file)')
            return
        kind = f'category_id must be one of {self.source}'
        if self._categories[0] >= 0 and self._categories[1] <= len(self.allowed):
            kind += ("; these look like the contiguous labels of a model: map them through the categories' ids, in the "
                     "file's order")
        self._found['category'].report(kind, self.problems)

    def _judge_images(self, warnings: list[str]) -> None:
        self._found['image'].report(
            f'image_id must be in {self.source} ("Results do not correspond to current coco set"); were the '
            'predictions made on another split?', self.problems)
        known = len(self.annotations.sizes)
        if known > self.images:
            warnings.append(f'{known - self.images} of {known} images have no detection; they count as empty')

    def _judge_extent(self, warnings: list[str]) -> None:
        far = self._found['far']
        if far.count <= _MANY * self.entries:
            if self._outside:
                warnings.append(f'{self._outside} of {self.entries} boxes reach more than {_TOLERANCE:g} px out of '
                                'their images')
        elif self._as_corners > 0.99 * self.entries:
            far.report('bbox looks like corners [x1, y1, x2, y2]; expected [x, y, width, height], so write x2 - x1 and '
                       'y2 - y1', self.problems)
        else:
            far.report('boxes must lie in the original image; these look like boxes of the resized image: divide by '
                       'the scale factor (rescale=True in mmdet)', self.problems)

    def checks(self) -> list[str]:
        """What was checked against the data set."""
        texts = [] if self.allowed is None else [f'category ids against {self.source}']
        if self.annotations is not None:
            texts.append(f'image ids and box positions against {self.source}, {len(self.annotations.sizes)} images')
        return texts
