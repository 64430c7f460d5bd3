"""The part of a COCO annotation file that a submission depends on: image ids and categories."""
from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .report import SubmissionError

# The 80 category ids in use; 1..90 with ten gaps.
COCO_CATEGORY_IDS = tuple(sorted(
    set(range(1, 91)) - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}))


@dataclass(frozen=True)
class CocoAnnotations:
    """Images and categories of a split.

    Attributes:
        path: The JSON file.
        sizes: Image id -> (width, height) in pixels, None where the file does not say.
        categories: (id, name) pairs in the file's order.
    """

    path: Path
    sizes: dict[int, tuple[float, float] | None]
    categories: tuple[tuple[int, str], ...]

    @classmethod
    def load(cls, path: str | Path) -> CocoAnnotations:
        """Read ``image_info_test-dev2017.json``, ``instances_val2017.json`` or one like them.

        Raises:
            SubmissionError: The file is missing, is not JSON, or lacks images or categories.
        """
        path = Path(path)
        if not path.is_file():
            raise SubmissionError(path, [
                'no such annotation file; pass the one of the split that was tested, e.g. '
                'annotations/image_info_test-dev2017.json (option ann_file)'])
        try:
            content = json.loads(path.read_text(encoding='utf-8'))
        except ValueError as error:
            raise SubmissionError(path, [f'not a JSON file ({error})']) from None
        missing = [key for key in ('images', 'categories')
                   if not isinstance(content, dict) or not content.get(key)]
        if missing:
            raise SubmissionError(path, [
                f'lacks {" and ".join(missing)}; expected a COCO annotation file with images and '
                'categories, whose order decides which category a label stands for'])
        try:
            sizes = {image['id']: ((image['width'], image['height'])
                                   if 'width' in image and 'height' in image else None)
                     for image in content['images']}
            categories = tuple((entry['id'], entry['name']) for entry in content['categories'])
        except (KeyError, TypeError) as error:
            raise SubmissionError(path, [
                f'an image without id or a category without id and name ({error}); expected the '
                'fields of a COCO annotation file']) from None
        return cls(path, sizes, categories)

    @property
    def split(self) -> str:
        """The split as file names show it, e.g. ``test-dev2017`` or ``val2017``."""
        stem = re.sub(r'^(image_info|instances)_', '', self.path.stem)
        return re.sub(r'[^A-Za-z0-9.-]+', '-', stem)

    def category_ids(self, classes: Sequence[str] | None = None) -> list[int]:
        """Category id of each label.

        The file's order counts, also when ``classes`` names some of them in another order:
        mmdet's ``CocoDataset`` numbers its labels so.

        Raises:
            SubmissionError: A class is not in the file, so that labels would be shifted.
        """
        if classes is None:
            return [number for number, _ in self.categories]
        names = [name for _, name in self.categories]
        unknown = [name for name in classes if name not in names]
        if unknown:
            raise SubmissionError(self.path, [
                f'classes not among its categories: {", ".join(unknown)}; expected names out of '
                f'{", ".join(names)}'])
        return [number for number, name in self.categories if name in set(classes)]
