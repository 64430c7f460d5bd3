"""PASCAL VOC segmentation: checking a result archive offline.

A plain tar or a zip, RGB images, re-ordered palettes and missing images all end in the same e-mail
days later ("Results were not generated properly"). Sources: this folder's README.
"""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from . import png_files
from .archive_members import Member, open_tar_gz
from .archives import size_and_sha256
from .label_maps import check_labels, check_size, image_sizes
from .report import Fault, Problems, Report
from .splits import other_split
from .voc_det import RESULTS_FIRST, default_split, read_image_set
from .voc_seg import NUM_CLASSES, TEST_IMAGES, check_names, colour_map, folder_name, label_fault


def validate(path: str | Path, *, competition: str = 'comp6', year: str = '2012',
             split: str | None = None, image_set: str | Path | None = None,
             image_dir: str | Path | None = None) -> Report:
    """Check a VOC segmentation archive, whoever wrote it; one file is in memory at a time.

    Args:
        path: The ``.tar.gz`` or ``.tgz``.
        competition: 'comp5' or 'comp6', as in the folder's name.
        year: Year of the data set, as in the folder's name.
        split: Split in the folder's name; default: the stem of ``image_set``, or 'test'.
        image_set: ``ImageSets/Segmentation/test.txt``. Without it ids are not checked, and the
            archive must have as many images as VOC2012's test set, 1,456.
        image_dir: ``JPEGImages``; without it sizes are not checked.

    Raises:
        SubmissionError: Lists every kind of problem found, with counts and examples.
    """
    path, problems = Path(path), Problems(path)
    split = split or default_split(image_set)
    folder = folder_name(competition, str(year), split)
    known = read_image_set(image_set)
    sizes = image_sizes(image_dir) if image_dir else None
    check = _Check(folder, sizes, problems)
    with open_tar_gz(path, problems) as members:
        for member in members:
            check.member(member)
    check_names(check.found, known, problems)
    if known is None and len(check.found) != TEST_IMAGES:
        problems.add(f'expected the {TEST_IMAGES} images of the test set of VOC2012, found {len(check.found)}; for '
                     'another split pass its list (option image_set)')
    problems.raise_if_any()
    size, sha256 = size_and_sha256(path)
    return Report('voc-seg', path, len(check.found), len(check.found), size, sha256, [
        *other_split(split), *check.warnings(known)], [
        f'exactly one PNG for each of the {len(known or check.found)} images, below {folder}/',
        '8-bit palette files that decode' + ('' if sizes is None else ', of the size of their images'),
        f'labels 0 to {NUM_CLASSES - 1}, no void'])


class _Check:
    """Checks members and remembers the image ids."""

    def __init__(self, folder: str, sizes: Mapping[str, tuple[int, int]] | None,
                 problems: Problems) -> None:
        self.folder, self.sizes, self.problems = folder, sizes, problems
        self.found: list[str] = []
        self.other_palettes = self.without_size = 0
        self.palette = colour_map(NUM_CLASSES)

    def member(self, member: Member) -> None:
        """Note what is wrong with one member."""
        folder, _, name = member.name.rpartition('/')
        if member.name.split('/')[0] != 'results':
            self.problems.add(RESULTS_FIRST, member.name)
        elif folder != self.folder or not name.endswith('.png'):
            self.problems.add(f'only {self.folder}/IMAGE.png may be in the archive; take the others out, or check with '
                              'the options competition, year and split', member.name)
        elif member.fits(png_files.LARGEST_PNG, png_files.TOO_LARGE, self.problems):
            self.found.append(name.removesuffix('.png'))
            with member.open(self.problems) as stream:
                self._image(self.found[-1], stream.read())

    def _image(self, name: str, data: bytes) -> None:
        size, kind = check_labels(data)
        expected = None if self.sizes is None else self.sizes.get(name)
        self.without_size += self.sizes is not None and expected is None
        check_size(name, size, expected, self.problems)
        if expected not in (None, size):  # it is not decoded
            return
        labels, palette = png_files.decode(data)
        if kind != '8-bit palette':
            raise Fault('expected indexed PNG (8-bit palette); attach the palette without changing the numbers',
                        'found grey')
        if (fault := label_fault(labels)) is not None:
            raise Fault(fault, str(labels.max()))
        count = min(NUM_CLASSES, len(palette))
        self.other_palettes += not np.array_equal(palette[:count], self.palette[:count])

    def warnings(self, known: Mapping[str, None] | None) -> list[str]:
        """Skipped checks, and what looks odd but is allowed."""
        texts = []
        if self.other_palettes:
            texts.append(f'{self.other_palettes} files have another palette than VOC; numbers count, but tools '
                         'of the development kit show other colours')
        if known is None:
            texts.append('image ids were not checked: pass the image set (option image_set)')
        if self.sizes is None:
            texts.append('sizes were not checked: pass the folder of the images (option image_dir)')
        elif self.without_size:
            texts.append(f'{self.without_size} images are not in the folder of the images; their sizes were not '
                         'checked')
        return texts
