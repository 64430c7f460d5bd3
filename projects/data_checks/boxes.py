"""COCO and PASCAL VOC annotations, entry by entry: every box, label and image that cannot be used, by name.

`projects.det_data` refuses a file at the first entry that cannot be read, or counts what it leaves out; here the whole
file is gone through whatever is in it.
"""

import json
import math
import os
import xml.etree.ElementTree as ET
from collections import Counter
from typing import Any

from projects.runtime.dataset_configs import DatasetEntry

from .findings import Problem, Sample

TOLERANCE = 1.0
"""Pixels that a box may reach beyond its image: annotation tools round."""


_TYPES = dict(id=(int, str), image_id=(int, str), category_id=(int, str), file_name=str, width=(int, float),
              height=(int, float))


def box_problem(box: Any, size: tuple[int, int] | None) -> tuple[str, str] | None:
    """What is wrong with [x1, y1, x2, y2] in an image of (width, height): (kind, sentence), or None."""
    try:
        x1, y1, x2, y2 = map(float, box)
    except (TypeError, ValueError):
        return 'box is not four numbers', f'{box!r}'
    shown = f'[{x1:g}, {y1:g}, {x2:g}, {y2:g}]'
    if not all(map(math.isfinite, (x1, y1, x2, y2))):
        return 'box is not finite', f'{shown}'
    if x2 <= x1 or y2 <= y1:
        return 'box without area', f'{shown} is {x2 - x1:g} x {y2 - y1:g} pixels'
    if size is None:
        return None
    width, height = size
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        return 'box outside the image', f'{shown} in {width} x {height} pixels'
    over = max(-x1, -y1, x2 - width, y2 - height)
    if over > TOLERANCE:
        return 'box reaches beyond the image', f'{shown} by {over:g} pixels, of {width} x {height}'
    return None


def class_names(entry: DatasetEntry, kind: type) -> tuple[str, ...]:
    """Classes of a data set: of its `metainfo`, else of its type."""
    meta = {key.lower(): value for key, value in (entry.cfg.get('metainfo') or {}).items()}
    return tuple(meta.get('classes') or kind.METAINFO.get('classes') or ())


# ---- COCO

def _entries(content: dict, part: str, keys: tuple[str, ...], path: str, problems: list[Problem]) -> list[dict]:
    """The usable entries of a list in the file; what lacks a key is a problem."""
    found = content.get(part)
    if not isinstance(found, list):
        problems.append(Problem('broken annotation file', path, f'no list {part!r}'))
        return []
    usable = []
    for index, item in enumerate(found):
        lacking = [key for key in keys if not isinstance(item, dict) or key not in item]
        strange = [key for key in keys if not lacking and not isinstance(item[key], _TYPES.get(key, object))]
        if lacking or strange:
            what = f'no {lacking[0]!r}' if lacking else f'{strange[0]} = {item[strange[0]]!r}'
            problems.append(Problem('broken annotation', path, f'{part}[{index}] has {what}: {str(item)[:100]}'))
        else:
            usable.append(item)
    return usable


def _read_json(path: str, problems: list[Problem]) -> dict:
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
    except OSError as error:
        problems.append(Problem('missing annotation file', path, f'{error.strerror}'))
    except ValueError as error:
        problems.append(Problem('broken annotation file', path, f'not valid JSON: {error}'))
    else:
        if isinstance(content, dict):
            return content
        problems.append(Problem('broken annotation file', path, f'a {type(content).__name__}, expected an object'))
    return {}


def _twice(values: list, what: str, path: str, problems: list[Problem]) -> None:
    for value, count in Counter(values).items():
        if count > 1:
            problems.append(Problem('listed twice', path, f'{what} {value!r}: {count} times'))


def coco_samples(entry: DatasetEntry, classes: tuple[str, ...]) -> tuple[list[Sample], list[Problem]]:
    """Samples of a COCO file, with the problems of every annotation, and problems of the file as a whole."""
    path = entry.path(entry.cfg['ann_file'])
    general: list[Problem] = []
    content = _read_json(path, general)
    if not content:
        return [], general
    folder = entry.path((entry.cfg.get('data_prefix') or {}).get('img', ''))
    images = _entries(content, 'images', ('id', 'file_name', 'width', 'height'), path, general)
    categories = {item['id']: item['name'] for item in _entries(content, 'categories', ('id', 'name'), path, general)}
    for name in classes:
        if name not in categories.values():
            general.append(Problem('unknown class', path, f'the config\'s class {name!r} is no category of the file: '
                                                          f'{", ".join(map(str, categories.values()))[:200]}'))
    _twice([image['id'] for image in images], 'image id', path, general)
    _twice([image['file_name'] for image in images], 'file name', path, general)
    samples = {image['id']: _coco_image(image, folder) for image in images}
    needed = ('id', 'image_id', 'bbox', 'category_id')
    annotations = _entries(content, 'annotations', needed, path, general) if 'annotations' in content else []
    _twice([item['id'] for item in annotations], 'annotation id', path, general)
    for item in annotations:
        if item['image_id'] in samples:
            _coco_box(item, samples[item['image_id']], categories, classes, path)
        else:
            general.append(Problem('annotation without image', path, f'annotation {item["id"]}: image_id '
                                                                     f'{item["image_id"]} is not listed'))
    return list(samples.values()), general


def _coco_image(image: dict, folder: str) -> Sample:
    name = os.path.join(folder, str(image['file_name']))
    return Sample(name, dict(img_path=name, img_id=image['id']), (image['width'], image['height']))


def _coco_box(item: dict, sample: Sample, categories: dict, classes: tuple[str, ...], path: str) -> None:
    """File an annotation with its sample: a usable box, or a problem."""
    label = f'annotation {item["id"]} of {os.path.basename(sample.name)}'
    box = item['bbox']
    if isinstance(box, list) and len(box) == 4 and all(isinstance(value, (int, float)) for value in box):
        box = [box[0], box[1], box[0] + box[2], box[1] + box[3]]
    if item['category_id'] not in categories:
        sample.problems.append(Problem('unknown class', path, f'{label}: category_id {item["category_id"]!r} is not '
                                                              'listed', _drawable(box)))
    elif wrong := box_problem(box, sample.size):
        sample.problems.append(Problem(wrong[0], path, f'{label}: {wrong[1]}', _drawable(box)))
    elif categories[item['category_id']] in classes and not item.get('ignore'):
        sample.boxes.append((categories[item['category_id']], *map(float, box)))


def _drawable(box: Any) -> tuple[float, ...] | None:
    try:
        values = tuple(map(float, box))
    except (TypeError, ValueError):
        return None
    return values if len(values) == 4 and all(map(math.isfinite, values)) else None


# ---- PASCAL VOC

def voc_samples(entry: DatasetEntry, classes: tuple[str, ...]) -> tuple[list[Sample], list[Problem]]:
    """Samples of a VOC list, with the problems of every XML file, and problems of the list."""
    path = entry.path(entry.cfg['ann_file'])
    base = entry.path(entry.cfg['data_prefix']['sub_data_root'])
    general: list[Problem] = []
    try:
        with open(path, encoding='utf-8') as file:
            names = [line.strip() for line in file if line.strip()]
    except OSError as error:
        return [], [Problem('missing annotation file', path, f'{error.strerror}')]
    _twice(names, 'image', path, general)
    if not names:
        general.append(Problem('broken annotation file', path, 'lists no images'))
    images = os.path.join(base, entry.cfg.get('img_subdir', 'JPEGImages'))
    files = os.path.join(base, entry.cfg.get('ann_subdir', 'Annotations'))
    return [_voc_sample(os.path.join(images, f'{name}.jpg'), os.path.join(files, f'{name}.xml'), classes)
            for name in dict.fromkeys(names)], general


def _voc_sample(image: str, path: str, classes: tuple[str, ...]) -> Sample:
    sample = Sample(image, dict(img_path=image, img_id=os.path.basename(path)[:-4]))
    try:
        root = ET.parse(path).getroot()
    except OSError as error:
        sample.problems.append(Problem('missing annotation file', path, f'{error.strerror}'))
        return sample
    except ET.ParseError as error:
        sample.problems.append(Problem('broken annotation file', path, f'not valid XML: {error}'))
        return sample
    try:
        size = int(root.findtext('size/width')), int(root.findtext('size/height'))
    except (TypeError, ValueError):
        sample.problems.append(Problem('broken annotation', path, 'size/width and size/height are no numbers'))
        size = None
    sample.size = size if size and min(size) > 0 else None
    for index, item in enumerate(root.findall('object'), 1):
        _voc_box(item, f'object {index}', sample, classes, path)
    return sample


def _voc_box(item: ET.Element, label: str, sample: Sample, classes: tuple[str, ...], path: str) -> None:
    name = item.findtext('name')
    texts = [item.findtext(f'bndbox/{key}') for key in ('xmin', 'ymin', 'xmax', 'ymax')]
    try:
        box = [float(text) - 1 for text in texts]  # as mmdet: a box of one pixel has no area left
    except (TypeError, ValueError):
        sample.problems.append(Problem('box is not four numbers', path, f'{label} ({name}): {texts}'))
        return
    if wrong := box_problem(box, sample.size):
        sample.problems.append(Problem(wrong[0], path, f'{label} ({name}): {wrong[1]}', _drawable(box)))
    elif name not in classes:
        known = f'{label}: {name!r} is none of {", ".join(classes)}'
        sample.problems.append(Problem('unknown class', path, known[:300], _drawable(box)))
    else:
        sample.boxes.append((name, *box))
