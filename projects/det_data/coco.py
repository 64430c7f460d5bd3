"""COCO annotations, with a word on everything that mmdet leaves out without one."""

import json
from collections import Counter
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.registry import DATASETS
from mmengine.logging import print_log

from .dropped import DroppedAnnotations
from .errors import AnnotationError
from .image_files import require_images

_REQUIRED = {'images': ('id', 'file_name', 'height', 'width'), 'categories': ('id', 'name')}
_BOX_KEYS = ('bbox', 'area', 'category_id')


def _check_entries(dataset: dict[str, Any]) -> None:
    """Raise `KeyError` with a sentence if a list or a key that every entry needs is missing."""
    for part, keys in _REQUIRED.items():
        if not isinstance(dataset.get(part), list):
            raise KeyError(f'no list {part!r}')
        for index, entry in enumerate(dataset[part]):
            for key in keys:
                if key not in entry:
                    raise KeyError(f'{part}[{index}] has no {key!r}: {str(entry)[:120]}')
    for index, entry in enumerate(dataset.get('annotations', ())):
        if 'id' not in entry or 'image_id' not in entry:
            lacking = 'image_id' if 'id' in entry else 'id'
            raise KeyError(f'annotations[{index}] has no {lacking!r}: {str(entry)[:120]}')


class _CheckedCOCO(COCO):
    """The COCO interface, which checks a file's keys before it indexes them."""

    def createIndex(self) -> None:  # noqa: N802 (pycocotools' name)
        _check_entries(self.dataset)
        self.dataset.setdefault('annotations', [])
        super().createIndex()

    def category_names(self) -> list[str]:
        """Names of the file's categories, in its order."""
        return [category['name'] for category in self.dataset['categories']]


@DATASETS.register_module()
class CheckedCocoDataset(CocoDataset):
    """mmdet's `CocoDataset`, which counts the annotations it leaves out.

    mmdet silently passes over boxes outside their image, boxes without width, height or area,
    categories that the file does not list, and annotations of images that it does not list. They
    are passed over here too, and one warning per data set tells how many for which reason, with an
    example. Categories left out by the choice of `classes` are no problem and not counted.

    Raises:
        AnnotationError: while loading: the file is no COCO JSON, a key is missing, the classes are
            not the file's, or nothing usable is left.
    """

    COCOAPI = _CheckedCOCO

    def load_data_list(self) -> list[dict]:
        """Load the annotations; see the class."""
        self._dropped = DroppedAnnotations()
        self._known: set[int] = set()
        try:
            data_list = super().load_data_list()
        except FileNotFoundError as error:
            raise AnnotationError(f'{self.ann_file}: no such annotation file.') from error
        except json.JSONDecodeError as error:
            raise AnnotationError(f'{self.ann_file}: not valid JSON: {error}. Is the file '
                                  'complete?') from error
        except UnicodeDecodeError as error:
            raise AnnotationError(f'{self.ann_file}: not a text file: {error}') from error
        except KeyError as error:
            raise AnnotationError(f'{self.ann_file}: not a COCO annotation file: '
                                  f'{error.args[0]}') from error
        except AssertionError as error:
            raise AnnotationError(f'{self.ann_file}: {error}') from error
        self._report(data_list)
        del self._dropped, self._known
        return data_list

    def _report(self, data_list: list[dict]) -> None:
        if not data_list:
            raise AnnotationError(f'{self.ann_file}: lists no images.')
        if self._dropped:
            print_log(self._dropped.summary(self.ann_file), logger='current', level=30)
        require_images(self.ann_file, data_list, '. Do the annotations belong to this image folder '
                       '(data_prefix.img)?')

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """Parse an image's annotations, counting those that are left out."""
        if not self._known:
            self._prepare()
        try:
            info = super().parse_data_info(raw_data_info)
        except (KeyError, TypeError, ValueError) as error:
            raise AnnotationError(self._malformed(raw_data_info, error)) from error
        annotations = raw_data_info['raw_ann_info']
        if len(info['instances']) < len(annotations):
            for annotation in annotations:
                self._count(annotation, raw_data_info['raw_img_info'])
        return info

    def _prepare(self) -> None:
        """Once the file is read: check the classes, count annotations that belong to no image."""
        self._known = {category['id'] for category in self.coco.dataset['categories']}
        self._check_classes()
        images = self.coco.imgs
        for annotation in self.coco.dataset['annotations']:
            if annotation['image_id'] not in images:
                self._dropped.add('of images that the file does not list',
                                  f'annotation {annotation["id"]}: image_id '
                                  f'{annotation["image_id"]}')

    def _check_classes(self) -> None:
        """Labels count the categories in the file's order, so the classes must keep to it."""
        classes, names = tuple(self.metainfo['classes']), self.coco.category_names()
        found = tuple(name for name in names if name in set(classes))
        if found == classes:
            return
        absent = [name for name in classes if name not in set(names)]
        twice = [name for name, count in Counter(names).items() if count > 1 and name in classes]
        if absent:
            reason = f'the file has no category {", ".join(map(repr, absent[:5]))}' + (
                f' and {len(absent) - 5} more' if len(absent) > 5 else '')
        elif twice:
            reason = f'the file lists {", ".join(map(repr, twice))} more than once'
        else:
            reason = f'their order differs from the file\'s, which is {",".join(found)}'
        raise AnnotationError(
            f'{self.ann_file}: the {len(classes)} classes of the config do not fit: {reason}. '
            f'Categories of the file: {", ".join(names[:20])}{", ..." if len(names) > 20 else ""}. '
            'Give the classes with --cfg-options classes=a,b,c.')

    def _malformed(self, raw: dict, error: Exception) -> str:
        for annotation in raw['raw_ann_info']:
            lacking = [key for key in _BOX_KEYS if key not in annotation]
            if lacking:
                return (f'{self.ann_file}: annotation {annotation["id"]} has no {lacking[0]!r}: '
                        f'{str(annotation)[:120]}')
            if not isinstance(annotation['bbox'], list) or len(annotation['bbox']) != 4:
                return (f'{self.ann_file}: annotation {annotation["id"]}: bbox is '
                        f'{annotation["bbox"]!r}, expected [x, y, width, height]')
        return f'{self.ann_file}: image {raw["raw_img_info"]["id"]} cannot be parsed: {error}'

    def _count(self, annotation: dict, image: dict) -> None:
        """Count `annotation` if mmdet leaves it out against its file's intention."""
        x, y, width, height = annotation['bbox']
        example = f'annotation {annotation["id"]} of {image["file_name"]}: '
        if annotation.get('ignore', False):
            return
        if annotation['category_id'] not in self._known:
            self._dropped.add('of a category that the file does not list',
                              f'{example}category_id {annotation["category_id"]}')
        elif width < 1 or height < 1 or annotation['area'] <= 0:
            self._dropped.add('with a box narrower than a pixel or without area',
                              f'{example}bbox {annotation["bbox"]}, area {annotation["area"]}')
        elif min(x + width, image['width']) <= max(x, 0) or min(
                y + height, image['height']) <= max(y, 0):
            self._dropped.add('with a box outside the image',
                              f'{example}bbox {annotation["bbox"]} in {image["width"]} x '
                              f'{image["height"]} pixels')

    def filter_data(self) -> list[dict]:
        """Filter as mmdet does; training needs at least one object to be left."""
        kept = super().filter_data()
        if not self.test_mode and not any(info['instances'] for info in kept):
            raise AnnotationError(
                f'{self.ann_file}: none of its {len(self.data_list)} images has an object to train '
                f'on, of the classes {", ".join(self.metainfo["classes"][:20])}.')
        return kept
