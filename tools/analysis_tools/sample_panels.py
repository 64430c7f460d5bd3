"""Pictures of what a data set hands to a model: images with boxes, masks and labels, depth, pairs, point clouds.

It looks at the packed sample alone, so it serves every task: `inputs` (tensors, or dicts of them) and `data_samples`.
All pictures are H x W x 3, uint8, RGB.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch

MIN_HEIGHT, MAX_SIDE, CLOUD_SIDE = 200, 640, 480
HEADER, GAP = 22, 4
CUT = 0.85
"""Share of a cloud's height above which nothing is drawn: a ceiling would hide the room."""
Panel = tuple[str, np.ndarray]


def colours(count: int) -> np.ndarray:
    """Distinct colours (count, 3): hues a golden angle apart."""
    number = np.arange(count)
    hsv = np.stack([number * 137.508 % 360 / 2, 255 - number // 7 % 3 * 70, 240 - number // 3 % 3 * 50], 1)
    return cv2.cvtColor(np.rint(hsv).astype(np.uint8)[None], cv2.COLOR_HSV2RGB)[0] if count else np.zeros((0, 3))


def palette(meta: Mapping[str, Any], count: int) -> np.ndarray:
    """Colours of `count` classes, the data set's own where it has them; (count, 3) uint8."""
    own = meta.get('palette')
    if not isinstance(own, (list, tuple)) or len(own) < count:
        return colours(count)
    return np.array(own[:count], dtype=np.uint8)


def grey_or_colour(image: np.ndarray) -> np.ndarray:
    """(C, H, W) of 1 or 3 channels as a picture: values above 1 are taken as 0..255, others stretched to it.

    One channel becomes a colour scale from its lowest to its highest value: a depth map, as a rule.
    """
    image = image.astype(np.float32).transpose(1, 2, 0)
    if image.shape[2] == 1 or image.min() < 0 or image.max() <= 1:
        finite = image[np.isfinite(image)]
        low, high = (finite.min(), finite.max()) if finite.size else (0, 1)
        image = (np.nan_to_num(image) - low) / max(high - low, 1e-6) * 255
    image = image.clip(0, 255).astype(np.uint8)
    if image.shape[2] == 1:
        return cv2.cvtColor(cv2.applyColorMap(image[..., 0], cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(image)


def image_panels(name: str, tensor: torch.Tensor, bgr: bool) -> list[Panel]:
    """An input (C, H, W) or (N, C, H, W) as pictures, three channels at a time, single ones as colour scales.

    `bgr` is about images alone: where several modalities lie behind each other, the suite packs the colours as RGB.
    """
    array = tensor.detach().cpu().numpy()
    array = array.reshape(-1, *array.shape[-2:])
    count, panels = len(array), []
    for start in range(0, count - count % 3, 3):
        part = array[start:start + 3]
        panels.append((name, grey_or_colour(part[::-1] if bgr and count == 3 else part)))
    panels += [(f'{name}, channel {index}', grey_or_colour(array[index:index + 1]))
               for index in range(count - count % 3, count)]
    return panels


def paint_labels(picture: np.ndarray, labels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Labels (H, W) over a picture in half-covering colours; labels beyond the table (255: ignored) stay clear."""
    if labels.shape != picture.shape[:2]:
        picture = cv2.resize(picture, labels.shape[::-1])
    known = (labels >= 0) & (labels < len(table))
    painted = picture.copy()
    painted[known] = (picture[known] * 0.4 + table[labels[known]] * 0.6).astype(np.uint8)
    return painted


def paint_instances(picture: np.ndarray, instances: Any, meta: Mapping[str, Any], ignored: Any = None) -> np.ndarray:
    """Boxes with class names, and masks, over a picture; boxes that training ignores are grey."""
    picture, names = picture.copy(), meta.get('classes', ())
    boxes, labels = _array(instances.bboxes).reshape(-1, 4), _array(instances.labels).astype(int)
    table = palette(meta, max(len(names), int(labels.max(initial=-1)) + 1))
    if 'masks' in instances:
        for mask, label in zip(_array(instances.masks), labels, strict=True):
            inside = mask.astype(bool)
            picture[inside] = (picture[inside] * 0.5 + table[label] * 0.5).astype(np.uint8)
    entries = [(box, table[label], names[label] if label < len(names) else str(label))
               for box, label in zip(boxes, labels, strict=True)]
    if ignored is not None and 'bboxes' in ignored:
        entries += [(box, (128, 128, 128), 'ignored') for box in _array(ignored.bboxes).reshape(-1, 4)]
    for box, colour, text in entries:
        colour = tuple(int(value) for value in colour)
        x1, y1, x2, y2 = np.rint(box).astype(int).tolist()
        cv2.rectangle(picture, (x1, y1), (x2, y2), colour, 2)
        cv2.putText(picture, text, (x1 + 2, max(y1 - 3, 10)), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
    return picture


def _array(value: Any) -> np.ndarray:
    """A tensor, mmdet's boxes (`tensor`) or masks (`to_ndarray`), or an array, as an array."""
    if hasattr(value, 'to_ndarray'):
        return value.to_ndarray()
    value = getattr(value, 'tensor', value)
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def point_colours(points: np.ndarray) -> np.ndarray:
    """Colours of points (n, C): columns 3 to 5 where there are six or more, else the height; (n, 3) uint8."""
    if points.shape[1] < 6:
        z = points[:, 2]
        scaled = ((z - z.min()) / max(np.ptp(z), 1e-6) * 255).astype(np.uint8)
        return cv2.cvtColor(cv2.applyColorMap(scaled, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB).reshape(-1, 3)
    rgb = points[:, 3:6]
    if rgb.max() <= 10:  # normalised to 0..1 or -1..1, perhaps shifted by a transform
        rgb = (rgb + 1) * 127.5 if rgb.min() < -0.1 else rgb * 255
    return rgb.clip(0, 255).astype(np.uint8)


def cloud_from_above(points: np.ndarray, paint: np.ndarray, corners: np.ndarray | None = None) -> np.ndarray:
    """Points seen from above, y upwards, without the highest ones.

    Args:
        points: (n, 3 or more), z is the height.
        paint: (n, 3) colours.
        corners: (m, 8, 3) of boxes, outlined.
    """
    low, high = points[:, :3].min(0), points[:, :3].max(0)
    scale = (CLOUD_SIDE - 1) / max(float((high - low)[:2].max()), 1e-6)
    width, height = (np.ceil((high - low)[:2] * scale).astype(int) + 1).tolist()
    picture = np.full((height, width, 3), 255, np.uint8)
    kept = np.flatnonzero(points[:, 2] <= low[2] + CUT * (high[2] - low[2]))
    kept = kept[np.argsort(points[kept, 2], kind='stable')]
    x, y = ((points[kept, :2] - low[:2]) * scale).astype(int).T
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        picture[np.clip(height - 1 - y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)] = paint[kept]
    for box in () if corners is None else corners:
        hull = cv2.convexHull(((box[:, :2] - low[:2]) * scale).astype(np.int32))[:, 0]
        cv2.polylines(picture, [np.stack([hull[:, 0], height - 1 - hull[:, 1]], 1)], True, (220, 0, 0), 2)
    return picture


def cloud_panels(points: np.ndarray, sample: Any, meta: Mapping[str, Any]) -> list[Panel]:
    """A cloud from above in its own colours, with boxes; then in those of classes and of instances."""
    boxes = sample.get('gt_instances_3d')
    corners = _array(boxes.bboxes_3d.corners) if boxes is not None and 'bboxes_3d' in boxes else None
    panels = [(f'{len(points)} points', cloud_from_above(points, point_colours(points), corners))]
    masks = sample.get('gt_pts_seg')
    for key, title in (('pts_semantic_mask', 'classes'), ('pts_instance_mask', 'instances')):
        if masks is None or key not in masks:
            continue
        labels = _array(masks.get(key)).astype(int)
        count = len(meta.get('classes', ())) if title == 'classes' else int(labels.max(initial=-1)) + 1
        table = palette(meta, count) if title == 'classes' else colours(count)
        known = (labels >= 0) & (labels < count)
        paint = np.full((len(labels), 3), 205, np.uint8)
        paint[known] = table[labels[known]]
        panels.append((f'{title}, {len(np.unique(labels[known]))}', cloud_from_above(points, paint)))
    return panels


def panels_of(packed: Mapping[str, Any], meta: Mapping[str, Any], bgr: bool) -> list[Panel]:
    """Pictures of one packed sample, with titles.

    Args:
        packed: `inputs` and `data_samples`.
        meta: the data set's `classes` and perhaps `palette`.
        bgr: whether images have OpenCV's order of channels.
    """
    inputs, sample = packed['inputs'], packed['data_samples']
    named = inputs if isinstance(inputs, Mapping) else {'input': inputs}
    panels: list[Panel] = []
    for name, value in named.items():
        if name == 'points':
            panels += cloud_panels(_array(value), sample, meta)
        elif isinstance(value, torch.Tensor) and value.ndim in (3, 4):
            panels += image_panels(name, value, bgr)
    for title, paint in (('boxes', _with_instances), ('labels', _with_labels)):
        panels += paint(title, panels, sample, meta)
    for name in sorted(sample.keys()):
        value = sample.get(name)
        value = value.get('data') if hasattr(value, 'shape') and hasattr(value, 'keys') else value
        if name != 'gt_sem_seg' and isinstance(value, torch.Tensor) and value.ndim == 3 and len(value) in (1, 3):
            panels += image_panels(name, value, bgr and name != 'gt_img')
    return panels


def _with_instances(title: str, panels: Sequence[Panel], sample: Any, meta: Mapping[str, Any]) -> list[Panel]:
    instances = sample.get('gt_instances')
    if instances is None or 'bboxes' not in instances or not panels:
        return []
    painted = paint_instances(panels[0][1], instances, meta, sample.get('ignored_instances'))
    return [(f'{title}, {len(instances)}', painted)]


def _with_labels(title: str, panels: Sequence[Panel], sample: Any, meta: Mapping[str, Any]) -> list[Panel]:
    truth = sample.get('gt_sem_seg')
    if truth is None or not panels:
        return []
    labels = _array(truth.data)[0].astype(int)
    known = labels[labels != 255]
    table = palette(meta, max(len(meta.get('classes', ())), int(known.max(initial=-1)) + 1))
    return [(f'{title}, {len(np.unique(known))} classes', paint_labels(panels[0][1], labels, table))]


def sheet(rows: Sequence[Sequence[Panel]]) -> np.ndarray:
    """Panels side by side under their titles, rows below each other."""
    strips = []
    for row in rows:
        cells = []
        for title, picture in row:
            height, width = picture.shape[:2]
            factor = -(-MIN_HEIGHT // height) if height < MIN_HEIGHT else min(1.0, MAX_SIDE / max(height, width))
            size = max(1, round(width * factor)), max(1, round(height * factor))
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST if factor > 1 else cv2.INTER_AREA)
            cell = np.full((size[1] + HEADER, size[0] + GAP, 3), 255, np.uint8)
            cell[HEADER:, :size[0]] = picture
            cells.append(cv2.putText(cell, title, (2, HEADER - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1,
                                     cv2.LINE_AA))
        strips.append(_joined(cells, 1))
    return _joined(strips, 0)


def _joined(parts: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """Pictures in a row (axis 1) or a column (axis 0), white where they are smaller than the largest."""
    other = max(part.shape[1 - axis] for part in parts)
    padded = []
    for part in parts:
        missing = other - part.shape[1 - axis]
        margins = ((0, missing), (0, 0), (0, 0)) if axis == 1 else ((0, 0), (0, missing), (0, 0))
        padded.append(np.pad(part, margins, constant_values=255))
    return np.concatenate(padded, axis)
