"""COCO detection: writing the result file of the bbox challenge.

One JSON array of ``{"image_id", "category_id", "bbox": [x, y, width, height], "score"}``, boxes
in pixels of the original image, 0-based; named ``detections_<split>_<algorithm>_results.json``
and alone at the root of a zip of the same stem. Sources: this folder's README.
"""
from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .archives import checked_name, zip_with_one_member
from .coco_annotations import CocoAnnotations
from .detections import ImageDetections, read_detections
from .report import Problems, SubmissionError

_SUBJECT = 'predictions for coco-det'


@dataclass
class _Left:
    """What was left out on the way, for the warnings."""

    written: int = 0
    degenerate: int = 0
    images_cut: int = 0


def write(results: Iterable[Mapping], out: str | Path, *, name: str, ann_file: str | Path,
          classes: Sequence[str] | None = None, split: str | None = None,
          max_per_image: int = 100, box_decimals: int = 2, score_decimals: int = 5) -> Path:
    """Write ``detections_<split>_<name>_results.zip`` into the folder ``out``.

    Boxes that round to no width or height are dropped, and images with more than
    ``max_per_image`` boxes are cut to the best; both give a counted warning.

    Args:
        results: What mmdet's ``DumpDetResults`` writes; see :func:`load_results`.
        out: Folder for the archive; made if missing.
        name: Name of the algorithm, without spaces.
        ann_file: COCO file of the split; its ``categories`` turn labels into ids.
        classes: The model's classes if they are not all categories of ``ann_file``.
        split: Split in the file name; default: read from the name of ``ann_file``.
        max_per_image: Organisers' limit on detections per image, over all categories.
        box_decimals: Decimals of box numbers. The organisers advise 1; 2 keeps the AP of small
            objects unchanged to about 1e-3.
        score_decimals: Decimals of scores. Only their rank matters.

    Raises:
        SubmissionError: Unknown or repeated image ids, labels outside the classes, numbers that
            are not finite, nothing to write. Nothing is left at the archive's place.
    """
    annotations = CocoAnnotations.load(ann_file)
    category_ids = np.array(annotations.category_ids(classes))
    stem = (f'detections_{checked_name(split or annotations.split, "split")}_'
            f'{checked_name(name, "name")}_results')
    images = _read(results, annotations, len(category_ids))
    left, separator = _Left(), b'['
    path = Path(out) / f'{stem}.zip'
    with zip_with_one_member(path, f'{stem}.json') as stream:
        for image in tqdm(images, desc='writing', unit='image', disable=None):
            kept = _prepare(image, max_per_image, box_decimals, left)
            if len(kept.scores):
                stream.write(separator + _encode(kept, category_ids, score_decimals))
                separator = b',\n'
        if not left.written:
            raise SubmissionError(_SUBJECT, [
                f'the model detected nothing in {len(images)} images, and the evaluation server '
                'fails on an empty list; check the checkpoint and the score threshold '
                '(test_cfg.score_thr)'])
        stream.write(b']\n')
    _warn(left, images, annotations, max_per_image)
    return path


def _read(results: Iterable[Mapping], annotations: CocoAnnotations,
          num_classes: int) -> list[ImageDetections]:
    problems = Problems(_SUBJECT)
    images = read_detections(results, num_classes, problems)
    seen: set[int] = set()
    for image in images:
        if not isinstance(image.img_id, Integral) or image.img_id not in annotations.sizes:
            problems.add(f'img_id must be an id of {annotations.path.name}; pass the annotation '
                         'file of the split that was tested', f'{image.img_id!r}')
        elif image.img_id in seen:
            problems.add('an image appears more than once', f'image {image.img_id}')
        else:
            seen.add(image.img_id)
    problems.raise_if_any()
    return sorted(images, key=lambda image: image.img_id)


def _prepare(image: ImageDetections, max_per_image: int, decimals: int,
             left: _Left) -> ImageDetections:
    """The detections to write, best first, with boxes as rounded x y width height."""
    boxes = np.concatenate([image.boxes[:, :2], image.boxes[:, 2:] - image.boxes[:, :2]], axis=1)
    boxes = boxes.round(decimals) + 0.0  # + 0.0 turns -0.0 into 0.0
    valid = (boxes[:, 2:] > 0).all(axis=1)
    left.degenerate += int((~valid).sum())
    left.images_cut += int(valid.sum() > max_per_image)
    kept = image.replace_boxes(boxes).pick(valid).best(max_per_image)
    left.written += len(kept.scores)
    return kept


def _encode(image: ImageDetections, category_ids: np.ndarray, score_decimals: int) -> bytes:
    """The entries of one image, comma-separated, without brackets."""
    rows = zip(category_ids[image.labels].tolist(), image.boxes.tolist(),
               (image.scores.round(score_decimals) + 0.0).tolist(), strict=True)
    entries = [{'image_id': int(image.img_id), 'category_id': category, 'bbox': box,
                'score': score} for category, box, score in rows]
    return json.dumps(entries, separators=(',', ':'), allow_nan=False)[1:-1].encode()


def _warn(left: _Left, images: list[ImageDetections], annotations: CocoAnnotations,
          max_per_image: int) -> None:
    if left.degenerate:
        warnings.warn(f'{left.degenerate} boxes without width or height after rounding were '
                      'dropped', stacklevel=3)
    if left.images_cut:
        warnings.warn(f'{left.images_cut} images had more than {max_per_image} detections and '
                      'were cut to the best of them', stacklevel=3)
    other = sum(_differs(image.ori_shape, annotations.sizes[image.img_id]) for image in images)
    if other:
        warnings.warn(f'{other} images have another size in the predictions than in '
                      f'{annotations.path.name}; are they of this split?', stacklevel=3)


def _differs(ori_shape: tuple[int, int] | None, size: tuple[float, float] | None) -> bool:
    return ori_shape is not None and size is not None and ori_shape != (size[1], size[0])
