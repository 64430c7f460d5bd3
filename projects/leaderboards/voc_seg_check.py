"""PASCAL VOC segmentation: checking a result archive offline.

A plain tar or a zip, RGB images, re-ordered palettes and missing images all end in the same e-mail
days later ("Results were not generated properly"). Sources: this folder's README.
"""
from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import png_files
from .archives import PACK_RESULTS, open_tar_gz, size_and_sha256
from .label_maps import LARGEST_PNG, check_size, decode_labels, image_sizes
from .report import Problems, Report
from .voc_det import default_split, read_image_set
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
    folder = folder_name(competition, str(year), split or default_split(image_set))
    known = read_image_set(image_set)
    sizes = image_sizes(image_dir) if image_dir else None
    check = _Check(folder, sizes, problems)
    with open_tar_gz(path, problems) as archive:
        for member in tqdm(archive, desc='checking', unit='file', disable=None):
            check.member(archive, member)
    check_names(check.found, known, problems)
    if known is None and len(check.found) != TEST_IMAGES:
        problems.add(f'expected the {TEST_IMAGES} images of the test set of VOC2012, found {len(check.found)}; for '
                     'another split pass its list (option image_set)')
    problems.raise_if_any()
    size, sha256 = size_and_sha256(path)
    return Report('voc-seg', path, len(check.found), len(check.found), size, sha256,
                  check.warnings(known))


class _Check:
    """Checks members and remembers the image ids."""

    def __init__(self, folder: str, sizes: Mapping[str, tuple[int, int]] | None,
                 problems: Problems) -> None:
        self.folder, self.sizes, self.problems = folder, sizes, problems
        self.found: list[str] = []
        self.other_palettes = self.without_size = 0
        self.palette = colour_map(NUM_CLASSES)

    def member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Note what is wrong with one member."""
        folder, _, name = member.name.rpartition('/')
        if member.isdir() and f'{self.folder}/'.startswith(f'{member.name}/'):
            return
        if member.name.split('/')[0] != 'results':
            self.problems.add(f'the first folder in the archive must be results/; {PACK_RESULTS}', member.name)
        elif folder != self.folder or not name.endswith('.png') or not member.isfile():
            self.problems.add(f'only {self.folder}/IMAGE.png may be in the archive; take the others out, or check with '
                              'the options competition, year and split', member.name)
        elif member.size > LARGEST_PNG:
            self.problems.add('a file is too large for a label map', f'{member.name}: {member.size} bytes')
        else:
            self.found.append(name.removesuffix('.png'))
            with archive.extractfile(member) as stream:
                self.image(self.found[-1], stream.read())

    def image(self, name: str, data: bytes) -> None:
        """Note what is wrong with one PNG."""
        header = png_files.read_header(data)
        expected = None if self.sizes is None else self.sizes.get(name)
        self.without_size += self.sizes is not None and expected is None
        if header is not None and expected is not None and header[0] != expected:
            check_size(name, header[0], expected, self.problems)  # before it is decoded
            return
        labels = decode_labels(data)
        if isinstance(labels, str):
            self.problems.add(labels, name)
            return
        if header[1] != '8-bit palette':
            self.problems.add('expected indexed PNG (8-bit palette), found grey; attach the palette without changing '
                              'the numbers', name)
            return
        if (fault := label_fault(labels)) is not None:
            self.problems.add(fault, f'{name}: {int(labels.max())}')
        palette = png_files.palette_of(data)
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
