"""COCO detection: checking a result archive offline.

The checks are those of the evaluation code (pycocotools ``loadRes``), of the server's front end
(zip, name, layout), and for the mistakes that both let pass with an AP of zero: contiguous
labels for category ids, corners for width and height, boxes of the resized image, ids of another
split. Sources: this folder's README.
"""
from __future__ import annotations

import io
import math
import re
import zipfile
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .archives import SYSTEM_FILES, open_zip, size_and_sha256
from .coco_annotations import COCO_CATEGORY_IDS, CocoAnnotations
from .json_stream import iter_array
from .progress import reading
from .report import EXAMPLES_PER_PROBLEM, Problems, Report

MAX_PER_IMAGE = 100
_NAME = re.compile(r'detections_([^_\s]+)_([^\s/]+)_results\.json')
_KEYS = ('image_id', 'category_id', 'bbox', 'score')
_TOLERANCE = 2.0  # pixels that a box may reach beyond its image without a word
# Boxes that are not clipped may end a little outside. Corners taken for sizes, or boxes of a
# resized image, put a large share of them (_MANY) far outside (_FAR times the image's size).
_FAR, _MANY = 1.2, 0.1


@dataclass(frozen=True)
class _Columns:
    """The well-formed entries: number in the file, (n,) ids and scores, (n, 4) boxes."""

    entry: np.ndarray
    image_id: np.ndarray
    category_id: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray

    def add(self, problems: Problems, kind: str, bad: np.ndarray, values: np.ndarray) -> None:
        """Note the entries where ``bad`` holds, with their ``values``."""
        index = np.flatnonzero(bad)
        for i in index[:EXAMPLES_PER_PROBLEM]:
            problems.add(kind, f'entry {self.entry[i]}: {values[i].tolist()}')
        if len(index) > EXAMPLES_PER_PROBLEM:
            problems.add(kind, count=len(index) - EXAMPLES_PER_PROBLEM)


def validate(path: str | Path, *, ann_file: str | Path | None = None,
             split: str | None = None) -> Report:
    """Check a COCO detection archive, whoever wrote it.

    Args:
        path: The zip.
        ann_file: COCO file of the split. Without it, image ids and box positions are not
            checked, and category ids only if the file name says a split of COCO itself.
        split: The split that the file name must show; default: any.

    Raises:
        SubmissionError: Lists every kind of problem found, with counts and examples.
    """
    path, problems, warnings = Path(path), Problems(path), []
    annotations = None if ann_file is None else CocoAnnotations.load(ann_file)
    columns, named_split = _read_archive(path, problems, warnings)
    _check_split(named_split, split, annotations, problems, warnings)
    if columns is not None and len(columns.entry):
        _check_values(columns, problems)
        _check_categories(columns, annotations, named_split, problems, warnings)
        if annotations is None:
            warnings.append('image ids and box positions were not checked: pass the annotation '
                            'file of the split (option ann_file)')
        else:
            _check_images(columns, annotations, problems, warnings)
            _check_extent(columns, annotations, problems, warnings)
        _check_crowded(columns, warnings)
    problems.raise_if_any()
    size, sha256 = size_and_sha256(path)
    return Report('coco-det', path, len(columns.entry), len(np.unique(columns.image_id)), size,
                  sha256, warnings)


def _read_archive(path: Path, problems: Problems,
                  warnings: list[str]) -> tuple[_Columns | None, str | None]:
    with open_zip(path, 'not a zip file (the server answers "Invalid file type" to a bare .json); '
                        'zip the result file alone: zip NAME.zip NAME.json') as archive:
        member, split = _check_layout(archive, path, problems, warnings)
        return (_read_member(archive, member, problems) if member else None), split


def _check_layout(archive: zipfile.ZipFile, path: Path, problems: Problems,
                  warnings: list[str]) -> tuple[zipfile.ZipInfo | None, str | None]:
    """Find the result file, and the split in its name."""
    if path.suffix != '.zip':
        problems.add('the archive must be called NAME.zip; rename it', path.name)
    members = []
    for info in archive.infolist():
        if SYSTEM_FILES.search(info.filename):
            problems.add('system files (__MACOSX, .DS_Store) in the zip; only the result file may '
                         'be there: zip -X NAME.zip NAME.json', info.filename)
        elif not info.is_dir():
            members.append(info)
    jsons = [info for info in members if info.filename.endswith('.json')]
    for info in members:
        if info not in jsons:
            problems.add('only the result file may be in the zip; take the others out',
                         info.filename)
    if len(jsons) != 1:
        problems.add('expected exactly one detections_<split>_<algorithm>_results.json in the '
                     f'zip, found {len(jsons)}')
        return None, None
    folder, _, name = jsons[0].filename.rpartition('/')
    if folder:
        problems.add('the result file must lie at the root of the zip, without a folder; zip it '
                     'from inside its folder', jsons[0].filename)
    match = _NAME.fullmatch(name)
    if not match:
        problems.add('the result file must be called '
                     'detections_<split>_<algorithm>_results.json, without spaces', repr(name))
    elif Path(name).stem != path.stem:
        warnings.append(f'the zip is usually called like the file in it, {Path(name).stem}.zip')
    return jsons[0], match and match[1]


def _check_split(named: str | None, wanted: str | None, annotations: CocoAnnotations | None,
                 problems: Problems, warnings: list[str]) -> None:
    if named is None:
        return
    if wanted is not None and named != wanted:
        problems.add(f'the file name must show the split {wanted}; write it with that split',
                     named)
    elif annotations is not None and wanted is None and named != annotations.split:
        warnings.append(f'the file name says split {named}, the annotation file '
                        f'{annotations.split}')


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo,
                 problems: Problems) -> _Columns | None:
    try:
        with (archive.open(member) as stream,
              reading(stream, member.file_size, 'checking') as reader):
            text = io.TextIOWrapper(reader, encoding='utf-8')
            return _read_columns(iter_array(text), problems)
    except ValueError as error:
        problems.add(f'{member.filename} must hold one JSON array of result objects ("results in '
                     f'not an array of objects"): {error}')
        return None


def _read_columns(entries: Iterable[Any], problems: Problems) -> _Columns:
    index, ids, categories = array('q'), array('q'), array('q')
    boxes, scores = array('d'), array('d')
    number = -1
    for number, entry in enumerate(entries):
        fault = _fault(entry)
        if fault is None and number == 0 and 'caption' in entry:
            fault = 'the first entry has a caption, which makes the server read all as captions'
        if fault is not None:
            problems.add(fault, f'entry {number}: {str(entry)[:120]}')
            continue
        index.append(number)
        ids.append(entry['image_id'])
        categories.append(entry['category_id'])
        boxes.extend(entry['bbox'])
        scores.append(entry['score'])
    if number < 0:
        problems.add('the list of results is empty, and the evaluation code fails on it; check '
                     'the checkpoint and the score threshold')
    return _Columns(np.array(index, np.int64), np.array(ids, np.int64),
                    np.array(categories, np.int64), np.array(boxes, np.float64).reshape(-1, 4),
                    np.array(scores, np.float64))


def _fault(entry: Any) -> str | None:
    """What is wrong with the form of one entry; the values are checked later, all at once."""
    if not isinstance(entry, dict):
        return 'every entry must be an object with image_id, category_id, bbox and score'
    for key in _KEYS:
        if key not in entry:
            return f'entry without {key}; expected {", ".join(_KEYS)}'
    for key in ('image_id', 'category_id'):
        if type(entry[key]) is not int or abs(entry[key]) >= 2 ** 63:
            return f'{key} must be an integer'
    bbox = entry['bbox']
    if bbox == []:
        return ('empty bbox (in the first entry it makes the server read all as masks or '
                'keypoints); expected [x, y, width, height]')
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
        return 'bbox must be four numbers [x, y, width, height]'
    return None if _is_number(entry['score']) else 'score must be a number'


def _is_number(value: Any) -> bool:
    # bool is an int for Python; an integer beyond the range of float cannot be stored.
    return type(value) is float or (type(value) is int and abs(value) < 2 ** 63)


def _check_values(columns: _Columns, problems: Problems) -> None:
    finite = np.isfinite(columns.boxes).all(axis=1)
    columns.add(problems, 'bbox must be finite; NaN and Infinity are no JSON, find out where the '
                'model yields them', ~finite, columns.boxes)
    columns.add(problems, 'score must be finite; NaN and Infinity are no JSON, find out where '
                'the model yields them', ~np.isfinite(columns.scores), columns.scores)
    flat = finite & (columns.boxes[:, 2:] <= 0).any(axis=1)
    columns.add(problems, 'bbox must have a width and height above 0 ([x, y, width, height]); '
                'drop such boxes', flat, columns.boxes)


def _check_categories(columns: _Columns, annotations: CocoAnnotations | None, split: str | None,
                      problems: Problems, warnings: list[str]) -> None:
    if annotations is not None:
        allowed, source = annotations.category_ids(), annotations.path.name
    elif split is not None and re.fullmatch(r'(train|val|test(-\w+)?)20\d\d', split):
        allowed, source = COCO_CATEGORY_IDS, 'the 80 ids of COCO'
    else:
        warnings.append('category ids were not checked: pass the annotation file (ann_file)')
        return
    unknown = ~np.isin(columns.category_id, allowed)
    if not unknown.any():
        return
    contiguous = columns.category_id.min() >= 0 and columns.category_id.max() <= len(allowed)
    kind = f'category_id must be one of {source}'
    if contiguous:
        kind += ('; these look like the contiguous labels of a model: map them through the '
                 "categories' ids, in the file's order")
    columns.add(problems, kind, unknown, columns.category_id)


def _check_images(columns: _Columns, annotations: CocoAnnotations, problems: Problems,
                  warnings: list[str]) -> None:
    known = np.fromiter(annotations.sizes, np.int64)
    unknown = ~np.isin(columns.image_id, known)
    columns.add(problems, f'image_id must be in {annotations.path.name} ("Results do not '
                'correspond to current coco set"); were the predictions made on another split?',
                unknown, columns.image_id)
    empty = len(known) - len(np.intersect1d(known, columns.image_id))
    if empty:
        warnings.append(f'{empty} of {len(known)} images have no detection; they count as empty')


def _check_extent(columns: _Columns, annotations: CocoAnnotations, problems: Problems,
                  warnings: list[str]) -> None:
    nowhere = (math.inf, math.inf)  # size not known: nothing lies outside
    sizes = np.array([annotations.sizes.get(number) or nowhere
                      for number in columns.image_id.tolist()], np.float64)
    first, second = columns.boxes[:, :2], columns.boxes[:, 2:]
    with np.errstate(invalid='ignore'):
        last = np.nan_to_num(first + second, nan=0, posinf=0)  # such boxes are reported already
    outside = (first < -_TOLERANCE).any(axis=1) | (last > sizes + _TOLERANCE).any(axis=1)
    far = (last > _FAR * sizes).any(axis=1)
    if far.mean() <= _MANY:
        if outside.any():
            warnings.append(f'{int(outside.sum())} of {len(outside)} boxes reach more than '
                            f'{_TOLERANCE:g} px out of their images')
        return
    as_corners = ((second > first) & (second <= sizes + _TOLERANCE)).all(axis=1)
    if as_corners.mean() > 0.99:
        kind = ('bbox looks like corners [x1, y1, x2, y2]; expected [x, y, width, height], so '
                'write x2 - x1 and y2 - y1')
    else:
        kind = ('boxes must lie in the original image; these look like boxes of the resized '
                'image: divide by the scale factor (rescale=True in mmdet)')
    columns.add(problems, kind, far, columns.boxes)


def _check_crowded(columns: _Columns, warnings: list[str]) -> None:
    counts = np.unique(columns.image_id, return_counts=True)[1]
    crowded = int((counts > MAX_PER_IMAGE).sum())
    if crowded:
        warnings.append(f'{crowded} images have more than {MAX_PER_IMAGE} detections (at most '
                        f'{int(counts.max())}), the most that the organisers ask for; the rest '
                        'does not raise AP')
