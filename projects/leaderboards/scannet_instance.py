"""ScanNet 3D semantic instances: writing the result archive.

A zip with ``SCENE.txt`` for each of the 100 test scenes at its root, one line an instance
(``predicted_masks/SCENE_000.txt LABEL SCORE``: NYU40 id and confidence), and the masks, one 0 or 1 a line for each
vertex of ``SCENE_vh_clean_2.ply``. Masks may overlap. Sources: this folder's README.
"""
from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .archives import checked_name, write_zip
from .detections import to_array
from .report import Problems
from .scannet_scenes import INSTANCE_IDS, by_scene, class_ids, lines_of, scene_names, vertex_counts

MASKS = 'predicted_masks'
MIN_REGION = 100
"""Vertices under which an instance is not evaluated."""
_KEYS = ('pts_instance_mask', 'instance_labels', 'instance_scores')


def write(results: Iterable[Mapping], out: str | Path, *, name: str, classes: Sequence[str] | None = None,
          mesh_dir: str | Path | None = None, scenes: str | Path | None = None, max_per_scene: int = 100,
          score_decimals: int = 4) -> Path:
    """Write ``<name>.zip`` into the folder ``out``; masks are packed one by one.

    Args:
        results: One dict a scene, with ``lidar_path`` (its stem is the scene's name) and ``pred_pts_seg``:
            ``pts_instance_mask`` (K, N) bool, ``instance_labels`` (K,) indices of classes, ``instance_scores`` (K,),
            with the N vertices of the scene's mesh in their order.
        out: Folder for the archive; made if missing.
        name: Name of the archive, without spaces.
        classes: Names of the model's classes, which the labels count; default: the 20 of ScanNet's semantic task.
        mesh_dir: ``scans_test``, to check the number of vertices against.
        scenes: File with the names of the split; default: the 100 test scenes.
        max_per_scene: Instances of a scene that are kept, best first; many make the archive too large for the server.
        score_decimals: Decimals of scores.

    Raises:
        SubmissionError: Wrong shapes, labels, scores or counts, unknown, missing or repeated scenes. Nothing is left at
            the archive's place.
    """
    path = Path(out) / f'{checked_name(name, "name")}.zip'
    ids, names = class_ids(classes), scene_names(scenes)
    counts = vertex_counts(mesh_dir, names)
    problems = Problems('predictions for scannet-instance')
    found = by_scene(results, _KEYS, names, problems)
    for scene, part in found.items():
        _check_scene(scene, part, len(ids), counts.get(scene), problems)
    problems.raise_if_any()
    dropped: Counter[str] = Counter()
    write_zip(path, _members(found, ids, max_per_scene, score_decimals, dropped), compress=True)
    for reason, count in dropped.items():
        warnings.warn(f'{count} instances were left out: {reason}', stacklevel=2)
    return path


def _check_scene(scene: str, part: Mapping, num_classes: int, vertices: int | None, problems: Problems) -> None:
    masks, labels, scores = (part[key] for key in _KEYS)
    shapes = tuple(tuple(to_array(value).shape) for value in (masks, labels, scores))
    count = shapes[1][0] if len(shapes[1]) == 1 else -1
    if len(shapes[0]) != 2 or shapes[0][0] != count or shapes[1:] != ((count,), (count,)):
        problems.add('expected pts_instance_mask (K, N), instance_labels (K,) and instance_scores (K,); a map of one '
                     'instance a point is not taken', f'{scene}: {shapes[0]}, {shapes[1]}, {shapes[2]}')
        return
    if vertices is not None and shapes[0][1] != vertices:
        problems.add('a mask must have one value for each vertex of the mesh; predict whole scenes, without sampling',
                     f'{scene}: {shapes[0][1]} values, {vertices} vertices')
    masks = to_array(masks)
    if masks.dtype != bool and not ((masks == 0) | (masks == 1)).all():
        problems.add('masks must be true or false (0 or 1), not logits', scene)
    labels, scores = to_array(labels), to_array(scores)
    bad = (labels < 0) | (labels >= num_classes)
    if bad.any():
        problems.add(f"labels must be 0 to {num_classes - 1}, indices of classes; name the model's classes with the "
                     'option classes', f'{scene}: {labels[bad][0]}', int(bad.sum()))
    if not np.isfinite(scores).all():
        problems.add('scores must be finite; find out where the model yields NaN or infinity', scene)


def _members(found: Mapping[str, Mapping], ids: np.ndarray, max_per_scene: int, decimals: int,
             dropped: Counter) -> Iterator[tuple[str, Iterable[bytes]]]:
    lists = {}
    for scene, part in tqdm(found.items(), desc='writing', unit='scene', disable=None):
        masks, labels, scores = (to_array(part[key]) for key in _KEYS)
        lines = []
        for index in _chosen(masks, ids[labels.astype(np.int64)], scores, max_per_scene, dropped):
            member = f'{MASKS}/{scene}_{len(lines):03d}.txt'
            lines.append(f'{member} {ids[int(labels[index])]} {float(scores[index]):.{decimals}f}\n')
            yield member, lines_of(masks[index] != 0)
        lists[f'{scene}.txt'] = [''.join(lines).encode()]
    yield from lists.items()


def _chosen(masks: np.ndarray, labels: np.ndarray, scores: np.ndarray, max_per_scene: int,
            dropped: Counter) -> list[int]:
    """Indices of the instances that are written, best first."""
    small = np.array([np.count_nonzero(mask) < MIN_REGION for mask in masks], dtype=bool)
    other = ~np.isin(labels, INSTANCE_IDS)
    order = [int(index) for index in np.argsort(-scores, kind='stable') if not small[index] and not other[index]]
    for reason, count in ((f'fewer than {MIN_REGION} vertices, which are not evaluated', int((small & ~other).sum())),
                          ('of wall or floor, which are no instances', int(other.sum())),
                          (f'beyond the {max_per_scene} best of their scene (option max_per_scene)',
                           max(0, len(order) - max_per_scene))):
        if count:
            dropped[reason] += count
    return order[:max_per_scene]
