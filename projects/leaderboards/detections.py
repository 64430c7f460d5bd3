"""Per-image detections, checked, as numpy arrays: what the detection tracks write from."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .report import Problems


@dataclass(frozen=True)
class ImageDetections:
    """Detections of one image.

    Attributes:
        img_id: The data set's id of the image (int for COCO, str for VOC).
        img_path: Path of the image as the data set knew it, '' if unknown.
        ori_shape: (height, width) of the original image in pixels, or None.
        boxes: (n, 4) float64, x1 y1 x2 y2 in pixels of the original image, 0-based.
        scores: (n,) float64.
        labels: (n,) int64, 0-based indices into the model's classes.
    """

    img_id: int | str
    img_path: str
    ori_shape: tuple[int, int] | None
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def best(self, count: int | None = None) -> ImageDetections:
        """The ``count`` detections of highest score (all if None), best first; ties keep order."""
        order = np.argsort(-self.scores, kind='stable')[:count]
        return self.pick(order)

    def pick(self, index: np.ndarray) -> ImageDetections:
        """The detections that ``index`` (integers or a mask) selects."""
        return replace(self, boxes=self.boxes[index], scores=self.scores[index],
                       labels=self.labels[index])

    def replace_boxes(self, boxes: np.ndarray) -> ImageDetections:
        """The same detections with other boxes, (n, 4)."""
        return replace(self, boxes=boxes)


def read_detections(results: Iterable[Mapping], num_classes: int,
                    problems: Problems) -> list[ImageDetections]:
    """Check dumped results and turn them into arrays.

    Args:
        results: What mmdet's ``DumpDetResults`` writes, one dict per image.
        num_classes: Labels must lie in [0, num_classes).
        problems: Receives what is wrong; images that cannot be read at all are left out.
    """
    images = []
    for position, result in enumerate(results):
        image = _read_one(position, result, problems)
        if image is not None:
            _check_values(image, num_classes, problems)
            images.append(image)
    return images


def to_array(value: Any) -> np.ndarray:
    """A numpy array of a tensor, array or list; half precision and devices are handled."""
    if hasattr(value, 'detach'):
        value = value.detach().cpu()
        value = value.double() if value.is_floating_point() else value
    return np.asarray(value)


def _read_one(position: int, result: Any, problems: Problems) -> ImageDetections | None:
    where = f'result {position}'
    if not isinstance(result, Mapping) or 'img_id' not in result:
        problems.add('each result must be a dict with img_id and pred_instances, as '
                     'tools/test.py --out writes them', f'{where}: {type(result).__name__}')
        return None
    where = f'image {result["img_id"]!r}'
    instances = result.get('pred_instances')
    missing = [key for key in ('bboxes', 'scores', 'labels')
               if not isinstance(instances, Mapping) or key not in instances]
    if missing:
        problems.add('pred_instances must hold bboxes, scores and labels (is this the dump of '
                     'a detector?)', f'{where} lacks {", ".join(missing)}')
        return None
    boxes, scores, labels = (to_array(instances[key]) for key in ('bboxes', 'scores', 'labels'))
    count = len(boxes) if boxes.ndim else 0
    if boxes.shape != (count, 4) or scores.shape != (count,) or labels.shape != (count,):
        problems.add('expected bboxes (n, 4), scores (n,) and labels (n,)',
                     f'{where}: {boxes.shape}, {scores.shape}, {labels.shape}')
        return None
    shape = result.get('ori_shape')
    return ImageDetections(
        result['img_id'], str(result.get('img_path') or ''),
        None if shape is None else (int(shape[0]), int(shape[1])),
        boxes.astype(np.float64), scores.astype(np.float64), labels.astype(np.int64))


def _check_values(image: ImageDetections, num_classes: int, problems: Problems) -> None:
    where = f'image {image.img_id!r}'
    for name, values in (('bboxes', image.boxes), ('scores', image.scores)):
        bad = ~np.isfinite(values)
        bad = bad.any(axis=1) if bad.ndim == 2 else bad
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            problems.add(f'{name} must be finite; find out where the model yields NaN or infinity',
                         f'{where} box {first}: {values[first].tolist()}', int(bad.sum()))
    bad = (image.labels < 0) | (image.labels >= num_classes)
    if bad.any():
        problems.add(f'labels must be 0..{num_classes - 1} for {num_classes} classes; name the '
                     "model's classes with the option classes",
                     f'{where}: label {image.labels[bad][0]}', int(bad.sum()))
