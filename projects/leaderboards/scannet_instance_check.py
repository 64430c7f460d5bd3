"""ScanNet 3D semantic instances: checking a result archive offline, without unpacking it.

Masks are read in pieces, so an archive that unpacks to gigabytes takes a few megabytes. What the server does with a
faulty file is told by its evaluation code; unknown labels, for one, it skips without a word. Sources: this folder's
README.
"""
from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .archive_members import Member, number_in, open_zip, text_lines
from .archives import size_and_sha256
from .report import Problems, Report
from .scannet_instance import MIN_REGION
from .scannet_scenes import (
    INSTANCE_IDS,
    check_root,
    check_scenes,
    read_numbers,
    scene_names,
    size_warnings,
    vertex_counts,
)

_MANY = 100
_LARGEST_LIST = 16 << 20  # bytes; a hundred thousand instances
_INTEGER = re.compile(r'[+-]?\d{1,10}', re.ASCII)


def validate(path: str | Path, *, mesh_dir: str | Path | None = None, scenes: str | Path | None = None) -> Report:
    """Check a ScanNet instance archive, whoever wrote it.

    Args:
        path: The zip.
        mesh_dir: ``scans_test``: each mask must have as many lines as its scene's mesh has vertices. Without it, all
            masks of a scene must agree.
        scenes: File with the names of the split; default: the 100 test scenes.

    Raises:
        SubmissionError: Lists every kind of problem found, with counts and examples.
    """
    path, problems = Path(path), Problems(path)
    names = scene_names(scenes)
    check = _Check(vertex_counts(mesh_dir, names), problems)
    with open_zip(path, 'pack SCENE.txt and predicted_masks/: zip -r -X ../NAME.zip .', problems) as members:
        check_root(members, problems)
        files = {member.name: member for member in members}
        lists = [name for name in files if '/' not in name and name.endswith('.txt')]
        check_scenes([name.removesuffix('.txt') for name in lists], names, 'a list SCENE.txt', problems)
        for name in lists:
            check.scene(files[name], files)
        check.leftovers(files)
        for mask, scene in check.masks.items():
            check.mask(files[mask], scene)
    problems.raise_if_any()
    size, sha256 = size_and_sha256(path)
    return Report('scannet-instance', path, len(check.masks), len(set(check.masks.values())), size, sha256,
                  check.warnings(mesh_dir is None) + size_warnings(files.values()), [
                      f'a list for each of the {len(names)} scenes, with paths, NYU40 ids and finite confidences',
                      'every mask there and named once, one integer a line',
                      'one line a vertex, ' + ('alike in each scene' if mesh_dir is None else 'by the meshes')])


class _Check:
    """Checks lists and masks; remembers which scene a mask belongs to."""

    def __init__(self, counts: Mapping[str, int], problems: Problems) -> None:
        self.counts, self.problems = dict(counts), problems
        self.masks: dict[str, str] = {}
        self.misnamed: set[str] = set()
        self.per_scene: Counter[str] = Counter()
        self.small = 0

    def scene(self, member: Member, files: Mapping[str, Member]) -> None:
        """Note what is wrong with the lines of a scene's list."""
        if not member.fits(_LARGEST_LIST, 'a list SCENE.txt is too large: one line an instance is expected in it, '
                           'masks lie in predicted_masks/', self.problems):
            return
        with member.open(self.problems) as stream:
            for number, line in enumerate(text_lines(stream), 1):
                text = line.decode('utf-8', errors='replace').removesuffix('\n').removesuffix('\r')
                self._line(f'{member.name} line {number}', text, member.name.removesuffix('.txt'), files)

    def _line(self, where: str, line: str, scene: str, files: Mapping[str, Member]) -> None:
        words = line.split(' ')
        if len(words) != 3 or not all(words) or line.split() != words:
            self.problems.add('a line must have three parts with single spaces between: path of the mask, label id, '
                              'confidence', f'{where}: {line[:60]!r}')
            self.misnamed.update(word for word in line.split() if word in files)  # or they would be reported as well
            return
        mask, label, score = words[0].removeprefix('./'), *words[1:]
        if not _INTEGER.fullmatch(label) or int(label) not in INSTANCE_IDS:
            self.problems.add('label ids must be NYU40 ids of the 18 instance classes (3 cabinet ... 39 '
                              'otherfurniture), not indices of classes; the server skips others without a word',
                              f'{where}: {label}')
        if not _is_finite(score):
            self.problems.add('the confidence must be a finite number', f'{where}: {score}')
        parts = mask.replace('\\', '/').split('/')
        if mask.startswith('/') or ':' in parts[0] or '..' in parts or '\\' in mask:
            self.problems.add('paths of masks must be relative, without .., with forward slashes', f'{where}: {mask}')
        elif len(parts) < 2:
            self.problems.add('masks must lie in a folder, as predicted_masks/SCENE_000.txt', f'{where}: {mask}')
        elif mask not in files:
            self.problems.add('a mask that a list names is not in the archive', f'{where}: {mask}')
        elif mask in self.masks:
            self.problems.add('a mask is named twice; the server would keep the last line only: write a file for each '
                              'instance', f'{where}: {mask}')
        else:
            self.masks[mask] = scene
            self.per_scene[scene] += 1

    def leftovers(self, files: Mapping[str, Member]) -> None:
        """Note files that no list names."""
        for name in files:
            if name not in self.masks and name not in self.misnamed and ('/' in name or not name.endswith('.txt')):
                self.problems.add('only lists SCENE.txt and the masks that they name may be in the archive', name)

    def mask(self, member: Member, scene: str) -> None:
        """Note what is wrong with one mask."""
        lines = inside = 0
        whole = False
        with member.open(self.problems) as stream:
            for numbers in read_numbers(stream):
                lines += len(numbers)
                inside += np.count_nonzero(numbers)
            whole = True
        if not whole:
            return
        expected = self.counts.setdefault(scene, lines)
        if lines != expected:
            self.problems.add('a mask must have one line for each vertex of SCENE_vh_clean_2.ply',
                              f'{member.name}: {lines} lines, expected {expected}')
        self.small += inside < MIN_REGION

    def warnings(self, without_meshes: bool) -> list[str]:
        """What the server accepts but does not evaluate, and skipped checks."""
        texts = []
        if self.small:
            texts.append(f'{self.small} masks have fewer than {MIN_REGION} vertices and are not evaluated')
        many = {scene: count for scene, count in self.per_scene.items() if count > _MANY}
        if many:
            scene = max(many, key=many.get)
            texts.append(f'{len(many)} scenes have more than {_MANY} instances, {scene} {many[scene]}; large archives '
                         'time out on the server')
        if without_meshes:
            texts.append('numbers of vertices were not checked: pass the folder of the meshes (option mesh_dir)')
        return texts


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(number_in(text))
    except ValueError:
        return False
