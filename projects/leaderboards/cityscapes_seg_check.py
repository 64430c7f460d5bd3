"""Cityscapes pixel-level labelling: checking a result archive offline.

"Content of zip archive does not match specifications" is all that the server says of missing or
doubled images, and train ids are scored without a word, with an IoU near 0. Sources: this folder's
README.
"""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from . import png_files
from .archive_members import Member, open_zip
from .archives import size_and_sha256
from .cityscapes_seg import LABEL_IDS, NAME_FAULT, check_names, expected_sizes, image_key, size_of
from .label_maps import check_labels, check_size
from .report import Problems, Report
from .splits import other_split


def validate(path: str | Path, *, image_dir: str | Path | None = None) -> Report:
    """Check a Cityscapes archive, whoever wrote it; one file is in memory at a time.

    Args:
        path: The zip; its files may lie in folders.
        image_dir: ``leftImg8bit/test`` (or another split), to check names and sizes against.
            Without it the 1,525 images of the test set, 2048 x 1024, are expected.

    Raises:
        SubmissionError: Lists every kind of problem found, with counts and examples.
    """
    path, problems = Path(path), Problems(path)
    expected = expected_sizes(image_dir)
    check = _Check(expected, problems)
    with open_zip(path, 'put the PNG files into one: zip -j -X NAME.zip FOLDER/*.png', problems) as members:
        for member in members:
            check.member(member)
    check_names(check.found, expected, problems)
    check.whole_archive()
    problems.raise_if_any()
    size, sha256 = size_and_sha256(path)
    whose = 'the test set' if expected is None else str(image_dir)
    split = Path(image_dir or 'test').name
    other = other_split(split) if split in ('train', 'val') else []
    return Report('cityscapes-seg', path, len(check.found), len(check.found), size, sha256, [
        *other, *check.warnings()], [
        f'exactly one PNG for each image of {whose}, of its size',
        '8-bit labels that decode, and are no train ids'])


class _Check:
    """Checks members; remembers images and the ids in them."""

    def __init__(self, expected: Mapping[str, tuple[int, int]] | None, problems: Problems) -> None:
        self.expected, self.problems = expected, problems
        self.found: dict[str, str] = {}
        self.ids = np.zeros(256, dtype=bool)

    def member(self, member: Member) -> None:
        """Note what is wrong with one member."""
        name = member.name
        key = image_key(Path(name).stem)
        if not name.endswith('.png'):
            self.problems.add('only PNG files (.png) may be in the archive', name)
        elif key is None:
            self.problems.add(NAME_FAULT, name)
        elif key in self.found:
            self.problems.add('two label maps for the same image; take coloured copies out',
                              f'{self.found[key]}; {name}')
        else:
            self.found[key] = name
            if member.fits(png_files.LARGEST_PNG, png_files.TOO_LARGE, self.problems):
                with member.open(self.problems) as stream:
                    self._image(key, stream.read())

    def _image(self, key: str, data: bytes) -> None:
        size, _ = check_labels(data)
        wanted = size_of(key, self.expected)
        check_size(self.found[key], size, wanted, self.problems)
        if wanted in (None, size):  # or it is not decoded
            self.ids[np.unique(png_files.decode(data)[0])] = True

    def whole_archive(self) -> None:
        """Note train ids: they show in all files together."""
        there = np.flatnonzero(self.ids)
        if len(there) and there.max() < len(LABEL_IDS) and (there < LABEL_IDS[0]).any():
            self.problems.add('the numbers look like train ids (0 to 18); the server wants label ids (7 road, 8 '
                              'sidewalk, ...): write the archive with tools/submit.py cityscapes-seg --ids train',
                              f'found {", ".join(map(str, there[:20]))}')

    def warnings(self) -> list[str]:
        """What is scored as an error but allowed, and skipped checks."""
        other = [int(number) for number in np.flatnonzero(self.ids) if number not in LABEL_IDS]
        texts = [f'ids {", ".join(map(str, other[:12]))} are none of the 19 that are evaluated; such pixels count as '
                 'errors'] if other else []
        if self.expected is None:
            texts.append('only number, cities and size of the images were checked: pass the folder of the test images '
                         '(option image_dir)')
        return texts
