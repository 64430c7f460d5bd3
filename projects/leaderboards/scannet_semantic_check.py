"""ScanNet 3D semantic labels: checking a result archive offline; a piece of one file is in memory at a time.

Sources: this folder's README.
"""
from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .archives import open_zip, size_and_sha256
from .report import Problems, Report
from .scannet_scenes import (
    CLASS_IDS,
    check_names,
    check_scenes,
    read_numbers,
    scene_names,
    size_warnings,
    vertex_counts,
)

_IDS = tuple(CLASS_IDS.values())


def validate(path: str | Path, *, mesh_dir: str | Path | None = None, scenes: str | Path | None = None) -> Report:
    """Check a ScanNet label archive, whoever wrote it.

    Args:
        path: The zip.
        mesh_dir: ``scans_test``: each file must have as many lines as its scene's mesh has vertices.
        scenes: File with the names of the split; default: the 100 test scenes.

    Raises:
        SubmissionError: Lists every kind of problem found, with counts and examples.
    """
    path, problems = Path(path), Problems(path)
    names = scene_names(scenes)
    check = _Check(vertex_counts(mesh_dir, names), problems)
    with open_zip(path, 'not a zip file; put the files SCENE.txt into one: zip -j NAME.zip FOLDER/*.txt') as archive:
        if path.suffix != '.zip':
            problems.add('the archive must be called NAME.zip; rename it', path.name)
        files = check_names(archive, problems)
        found = []
        for info in tqdm(files, desc='checking', unit='scene', disable=None):
            if '/' in info.filename or not info.filename.endswith('.txt'):
                problems.add('only files SCENE.txt may be in the archive, at its root', info.filename)
                continue
            found.append(info.filename.removesuffix('.txt'))
            check.scene(archive, info.filename)
    check_scenes(found, names, 'labels', problems)
    check.whole_archive()
    problems.raise_if_any()
    size, sha256 = size_and_sha256(path)
    return Report('scannet-semantic', path, len(found), len(found), size, sha256,
                  check.warnings(mesh_dir is None) + size_warnings(files))


class _Check:
    """Checks files; remembers which ids occur."""

    def __init__(self, counts: Mapping[str, int], problems: Problems) -> None:
        self.counts, self.problems = counts, problems
        self.ids: set[int] = set()

    def scene(self, archive: zipfile.ZipFile, name: str) -> None:
        """Note what is wrong with one file."""
        lines = 0
        for numbers in read_numbers(archive, name):
            if isinstance(numbers, str):
                self.problems.add(numbers, name)
                return
            lines += len(numbers)
            self.ids.update(np.unique(numbers).tolist())
        expected = self.counts.get(name.removesuffix('.txt'), lines)
        if lines != expected or lines == 0:
            self.problems.add('expected a line for each vertex of SCENE_vh_clean_2.ply ("number of predicted values '
                              'does not match number of vertices")',
                              f'{name}: {lines} lines, expected {expected or "some"}')

    def whole_archive(self) -> None:
        """Note indices of classes: they show in all files together."""
        gaps = sorted(number for number in self.ids if number not in _IDS)
        if gaps and max(self.ids) < len(_IDS):
            self.problems.add('the numbers look like indices of classes (0 to 19); the server wants NYU40 ids (1 wall '
                              'to 39 otherfurniture): write the archive with tools/submit.py scannet-semantic',
                              f'found {", ".join(map(str, sorted(self.ids)[:20]))}')

    def warnings(self, without_meshes: bool) -> list[str]:
        """What counts as an error but is allowed, and skipped checks."""
        other = sorted(number for number in self.ids if number not in _IDS)
        texts = [f'ids {", ".join(map(str, other[:12]))} are none of the 20 that are evaluated; such vertices count as '
                 'errors'] if other else []
        if without_meshes:
            texts.append('numbers of vertices were not checked: pass the folder of the meshes (option mesh_dir)')
        return texts
