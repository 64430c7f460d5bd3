"""Cityscapes pixel-level labelling: checking a result archive offline.

"Content of zip archive does not match specifications" is all that the server says of missing or
doubled images, and train ids are scored without a word, with an IoU near 0. Sources: this folder's
README.
"""
from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import png_files
from .archives import SYSTEM_FILES, open_zip, size_and_sha256
from .cityscapes_seg import LABEL_IDS, NAME_FAULT, check_names, expected_sizes, image_key, size_of
from .label_maps import LARGEST_PNG, check_size, decode_labels
from .report import Problems, Report


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
    with open_zip(path, 'not a zip file; put the PNG files into one: zip -j NAME.zip FOLDER/*.png') as archive:
        if path.suffix != '.zip':
            problems.add('the archive must be called NAME.zip; rename it', path.name)
        for info in tqdm(archive.infolist(), desc='checking', unit='file', disable=None):
            check.member(archive, info)
    check_names(check.found, expected, problems)
    check.whole_archive()
    problems.raise_if_any()
    size, sha256 = size_and_sha256(path)
    return Report('cityscapes-seg', path, len(check.found), len(check.found), size, sha256, check.warnings())


class _Check:
    """Checks members; remembers images and the ids in them."""

    def __init__(self, expected: Mapping[str, tuple[int, int]] | None, problems: Problems) -> None:
        self.expected, self.problems = expected, problems
        self.found: dict[str, str] = {}
        self.ids = np.zeros(256, dtype=bool)

    def member(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        """Note what is wrong with one member."""
        name = info.filename
        parts = name.replace('\\', '/').split('/')
        key = image_key(Path(name).stem)
        if SYSTEM_FILES.search(name):
            self.problems.add('system files (__MACOSX, .DS_Store) in the zip; pack it with zip -j -X', name)
        elif '..' in parts or not parts[0]:
            self.problems.add('paths in the zip must stay inside of it; pack it with zip -j', name)
        elif info.is_dir():
            return
        elif not name.endswith('.png'):
            self.problems.add('only PNG files (.png) may be in the archive', name)
        elif key is None:
            self.problems.add(NAME_FAULT, name)
        elif key in self.found:
            self.problems.add('two label maps for the same image; take coloured copies out',
                              f'{self.found[key]}; {name}')
        else:
            self.found[key] = name
            if info.file_size > LARGEST_PNG:
                self.problems.add('a file is too large for a label map', f'{name}: {info.file_size} bytes')
            else:
                self.image(key, archive.read(info))

    def image(self, key: str, data: bytes) -> None:
        """Note what is wrong with one PNG."""
        header, name = png_files.read_header(data), self.found[key]
        wanted = size_of(key, self.expected)
        if header is not None and wanted is not None and header[0] != wanted:
            check_size(name, header[0], wanted, self.problems)  # before it is decoded
            return
        labels = decode_labels(data)
        if isinstance(labels, str):
            self.problems.add(labels, name)
        else:
            self.ids[np.unique(labels)] = True

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
