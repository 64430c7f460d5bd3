"""COCO detection: checking a result archive offline.

The checks are those of the evaluation code (pycocotools ``loadRes``), of the server's front end
(zip, name, layout), and for the mistakes that both let pass with an AP of zero
(:mod:`.coco_det_values`). Sources: this folder's README.
"""
from __future__ import annotations

import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .archive_members import Member, open_zip
from .archives import size_and_sha256
from .coco_annotations import CocoAnnotations
from .coco_det_values import ValueChecks
from .json_stream import iter_array
from .report import Problems, Report

_NAME = re.compile(r'detections_([^_\s]+)_([^\s/]+)_results\.json')
_KEYS = ('image_id', 'category_id', 'bbox', 'score')


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
    with open_zip(path, 'zip the result file alone (the server answers "Invalid file type" to a bare .json): '
                        'zip -X NAME.zip NAME.json', problems) as members:
        member, named_split = _check_layout(members, path, problems, warnings)
        _check_split(named_split, split, annotations, problems, warnings)
        values = ValueChecks(annotations, named_split, problems)
        if member is not None:
            _read_member(member, values, problems)
    values.finish(warnings)
    problems.raise_if_any()
    size, sha256 = size_and_sha256(path)
    return Report('coco-det', path, values.entries, values.images, size, sha256, warnings, [
        'one JSON array at the root of the zip, called detections_<split>_<algorithm>_results.json',
        'keys and types of each entry, finite numbers, boxes with an extent', *values.checks()])


def _check_layout(members: list[Member], path: Path, problems: Problems,
                  warnings: list[str]) -> tuple[Member | None, str | None]:
    """Find the result file, and the split in its name."""
    jsons = [member for member in members if member.name.endswith('.json')]
    for member in members:
        if member not in jsons:
            problems.add('only the result file may be in the zip; take the others out', member.name)
    if len(jsons) != 1:
        problems.add('expected exactly one detections_<split>_<algorithm>_results.json in the '
                     f'zip, found {len(jsons)}')
        return None, None
    folder, _, name = jsons[0].name.rpartition('/')
    if folder:
        problems.add('the result file must lie at the root of the zip, without a folder; zip it '
                     'from inside its folder', jsons[0].name)
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


def _read_member(member: Member, values: ValueChecks, problems: Problems) -> None:
    with member.open(problems) as stream:
        try:
            _read_entries(iter_array(io.TextIOWrapper(stream, encoding='utf-8')), values, problems)
        except ValueError as error:
            problems.add('the result file must hold one JSON array of result objects ("results in '
                         'not an array of objects")', f'{member.name}: {error}')


def _read_entries(entries: Iterable[Any], values: ValueChecks, problems: Problems) -> None:
    number = -1
    for number, entry in enumerate(entries):
        fault = _fault(entry)
        if fault is None and number == 0 and 'caption' in entry:
            fault = 'the first entry has a caption, which makes the server read all as captions'
        if fault is None:
            values.add(number, entry['image_id'], entry['category_id'], entry['bbox'], entry['score'])
        else:
            problems.add(fault, f'entry {number}: {str(entry)[:120]}')
    if number < 0:
        problems.add('the list of results is empty, and the evaluation code fails on it; check '
                     'the checkpoint and the score threshold')


def _fault(entry: Any) -> str | None:
    """What is wrong with the form of one entry; the values are checked later, many at once."""
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
