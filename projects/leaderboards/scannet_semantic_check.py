"""ScanNet 3D semantic labels: checking a result archive offline; a piece of one file is in memory at a time.

Sources: this folder's README.
"""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .archive_members import Member, open_zip
from .archives import size_and_sha256
from .report import Problems, Report
from .scannet_scenes import (
    CLASS_IDS,
    check_root,
    check_scenes,
    read_numbers,
    scene_names,
    size_warnings,
    vertex_counts,
)

_SMALL = 256
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
    found = []
    with open_zip(path, 'put the files SCENE.txt into one: zip -j -X NAME.zip FOLDER/*.txt', problems) as members:
        check_root(members, problems)
        for member in members:
            if '/' in member.name or not member.name.endswith('.txt'):
                problems.add('only files SCENE.txt may be in the archive, at its root', member.name)
                continue
            found.append(member.name.removesuffix('.txt'))
            check.scene(member)
    check_scenes(found, names, 'labels', problems)
    check.whole_archive()
    problems.raise_if_any()
    size, sha256 = size_and_sha256(path)
    return Report('scannet-semantic', path, len(found), len(found), size, sha256,
                  check.warnings(mesh_dir is None) + size_warnings(members), [
                      f'labels for each of the {len(names)} scenes, one integer a line, no indices of classes',
                      *([] if mesh_dir is None else ['one line a vertex, by the meshes'])])


class _Check:
    """Checks files; remembers which ids occur."""

    def __init__(self, counts: Mapping[str, int], problems: Problems) -> None:
        self.counts, self.problems = counts, problems
        self.small = np.zeros(_SMALL, dtype=bool)
        self.others: set[int] = set()

    def scene(self, member: Member) -> None:
        """Note what is wrong with one file."""
        lines, whole = 0, False
        with member.open(self.problems) as stream:
            for numbers in read_numbers(stream):
                lines += len(numbers)
                self._remember(np.unique(numbers))
            whole = True
        expected = self.counts.get(member.name.removesuffix('.txt'), lines)
        if whole and (lines != expected or lines == 0):
            self.problems.add('expected a line for each vertex of SCENE_vh_clean_2.ply ("number of predicted values '
                              'does not match number of vertices")',
                              f'{member.name}: {lines} lines, expected {expected or "some"}')

    def _remember(self, numbers: np.ndarray) -> None:
        inside = (numbers >= 0) & (numbers < _SMALL)
        self.small[numbers[inside]] = True
        if len(self.others) < 12:  # enough to name
            self.others.update(numbers[~inside][:12].tolist())

    @property
    def ids(self) -> list[int]:
        """The ids that occur; of those that are far off, some."""
        return sorted({*np.flatnonzero(self.small).tolist(), *self.others})

    def whole_archive(self) -> None:
        """Note indices of classes: they show in all files together."""
        gaps = [number for number in self.ids if number not in _IDS]
        if gaps and max(self.ids) < len(_IDS):
            self.problems.add('the numbers look like indices of classes (0 to 19); the server wants NYU40 ids (1 wall '
                              'to 39 otherfurniture): write the archive with tools/submit.py scannet-semantic',
                              f'found {", ".join(map(str, self.ids[:20]))}')

    def warnings(self, without_meshes: bool) -> list[str]:
        """What counts as an error but is allowed, and skipped checks."""
        other = [number for number in self.ids if number not in _IDS]
        texts = [f'ids {", ".join(map(str, other[:12]))} are none of the 20 that are evaluated; such vertices count as '
                 'errors'] if other else []
        if without_meshes:
            texts.append('numbers of vertices were not checked: pass the folder of the meshes (option mesh_dir)')
        return texts
