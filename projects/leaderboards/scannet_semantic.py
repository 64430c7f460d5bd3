"""ScanNet 3D semantic labels: writing the result archive.

A zip with ``SCENE.txt`` for each of the 100 test scenes at its root and nothing else: one NYU40 id a line for each
vertex of ``SCENE_vh_clean_2.ply``. Sources: this folder's README.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .archives import checked_name, write_zip
from .detections import to_array
from .report import Problems
from .scannet_scenes import by_scene, class_ids, lines_of, scene_names, vertex_counts

_KEY = 'pts_semantic_mask'


def write(results: Iterable[Mapping], out: str | Path, *, name: str, classes: Sequence[str] | None = None,
          mesh_dir: str | Path | None = None, scenes: str | Path | None = None) -> Path:
    """Write ``<name>.zip`` into the folder ``out``.

    Args:
        results: One dict a scene, with ``lidar_path`` (its stem is the scene's name) and ``pred_pts_seg`` with
            ``pts_semantic_mask`` (N,), indices of classes, for the N vertices of the scene's mesh in their order.
        out: Folder for the archive; made if missing.
        name: Name of the archive, without spaces.
        classes: Names of the model's classes; default: the 20 of ScanNet's semantic task.
        mesh_dir: ``scans_test``, to check the number of vertices against.
        scenes: File with the names of the split; default: the 100 test scenes.

    Raises:
        SubmissionError: Wrong labels or counts, unknown, missing or repeated scenes. Nothing is left at the archive's
            place.
    """
    path = Path(out) / f'{checked_name(name, "name")}.zip'
    ids, names = class_ids(classes), scene_names(scenes)
    counts = vertex_counts(mesh_dir, names)
    problems = Problems('predictions for scannet-semantic')
    found = by_scene(results, (_KEY,), names, problems)
    for scene, part in found.items():
        _check_scene(scene, to_array(part[_KEY]), len(ids), counts.get(scene), problems)
    problems.raise_if_any()
    write_zip(path, _members(found, ids), compress=True)
    return path


def _check_scene(scene: str, labels: np.ndarray, num_classes: int, vertices: int | None, problems: Problems) -> None:
    if labels.ndim != 1 or labels.dtype.kind not in 'iu':
        problems.add('pts_semantic_mask must have the shape (N,) and whole numbers; labels, not logits',
                     f'{scene}: {labels.shape} {labels.dtype}')
        return
    bad = (labels < 0) | (labels >= num_classes)
    if bad.any():
        problems.add(f"labels must be 0 to {num_classes - 1}, indices of classes; name the model's classes with the "
                     'option classes', f'{scene}: {labels[bad][0]}', int(bad.sum()))
    if vertices is not None and len(labels) != vertices:
        problems.add('expected a label for each vertex of the mesh; predict whole scenes, without sampling',
                     f'{scene}: {len(labels)} labels, {vertices} vertices')


def _members(found: Mapping[str, Mapping], ids: np.ndarray) -> Iterator[tuple[str, Iterable[bytes]]]:
    for scene, part in tqdm(found.items(), desc='writing', unit='scene', disable=None):
        yield f'{scene}.txt', lines_of(ids[to_array(part[_KEY]).astype(np.int64)])
