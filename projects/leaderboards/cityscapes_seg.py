"""Cityscapes pixel-level labelling: writing the result archive.

A zip with one 8-bit grey PNG per test image, 2048 x 1024, named
``<city>_<sequence>_<frame>_leftImg8bit.png``; its numbers are label ids (7 road, 8 sidewalk, ...
33 bicycle), not the train ids 0 to 18 that models learn. Sources: this folder's README.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import png_files
from .archives import checked_name, write_zip
from .label_maps import LabelMap, check_size, image_sizes, label_maps
from .report import Fault, Problems, SubmissionError

LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Label id of each train id."""
TEST_IMAGES, TEST_SIZE = 1525, (2048, 1024)
TEST_CITIES = ('berlin', 'bielefeld', 'bonn', 'leverkusen', 'mainz', 'munich')
IMAGE_SUFFIX = '_leftImg8bit'
_NAME = re.compile(r'(?P<city>[a-z]+(?:-[a-z]+)*)_(?P<sequence>\d{6})_(?P<frame>\d{6})(?!\d)', re.ASCII)
_SUBJECT = 'predictions for cityscapes-seg'


def write(results: str | Path | Iterable[Mapping], out: str | Path, *, name: str,
          ids: str = 'train', image_dir: str | Path | None = None) -> Path:
    """Write ``<name>.zip`` into the folder ``out``.

    Args:
        results: A folder of label images, or predictions with ``img_path`` and ``pred_sem_seg``.
        out: Folder for the archive; made if missing.
        name: Name of the archive, without spaces.
        ids: What the numbers are: 'train' ids (0 to 18, what models of mmseg predict; they are
            converted) or 'label' ids (what mmseg's ``CityscapesMetric`` writes; they are kept).
        image_dir: ``leftImg8bit/test`` (or another split), to check names and sizes against.
            Without it the 1,525 images of the test set, 2048 x 1024, are expected.

    Raises:
        SubmissionError: Numbers that are no such ids, wrong names or sizes, missing or repeated
            images. Nothing is left at the archive's place.
    """
    table = id_table(ids)
    path = Path(out) / f'{checked_name(name, "name")}.zip'
    problems = Problems(_SUBJECT)
    expected = expected_sizes(image_dir)
    maps = {}
    for entry in label_maps(results, problems):
        key = image_key(entry.stem)
        if key is None:
            problems.add(NAME_FAULT, entry.where)
        elif key in maps:
            problems.add('two label maps for the same image', f'{maps[key].where}; {entry.where}')
        else:
            maps[key] = entry
    check_names(maps, expected, problems)
    problems.raise_if_any()
    write_zip(path, _members(maps, table, expected, problems))
    return path


NAME_FAULT = ('names must begin with <city>_<6 digits>_<6 digits>, as '
              'berlin_000000_000019_leftImg8bit.png, in lower case')


def image_key(stem: str) -> str | None:
    """``<city>_<sequence>_<frame>``, by which the server finds the image; None if there is none."""
    match = _NAME.match(stem)
    return None if match is None else match[0]


def id_table(ids: str) -> np.ndarray:
    """Label id of each number in the input, -1 where the number is no id; (256,)."""
    if ids not in ('train', 'label'):
        raise SubmissionError('option ids', [
            f'{ids!r}; expected train (0 to 18, as models predict) or label (7, 8, 11, ... 33)'])
    table = np.full(256, -1)
    table[list(LABEL_IDS) if ids == 'label' else list(range(len(LABEL_IDS)))] = LABEL_IDS
    return table


def expected_sizes(image_dir: str | Path | None) -> dict[str, tuple[int, int]] | None:
    """Size (width, height) of each image of the split by its key; None without a folder.

    Raises:
        SubmissionError: No such folder, or an image in it that is not called as in Cityscapes.
    """
    if image_dir is None:
        return None
    sizes = {}
    for stem, size in image_sizes(image_dir, IMAGE_SUFFIX).items():
        key = image_key(stem)
        if key is None:
            raise SubmissionError(image_dir, [f'{NAME_FAULT} (option image_dir), found {stem}'])
        sizes[key] = size
    return sizes


def check_names(found: Iterable[str], expected: Mapping[str, tuple[int, int]] | None,
                problems: Problems) -> None:
    """Note images without labels, and labels of other images than the split's."""
    found = list(found)
    if expected is None:
        if strangers := [key for key in found if key.split('_')[0] not in TEST_CITIES]:
            problems.add('not an image of the test set; for another split pass its folder (option image_dir)',
                         strangers[0], len(strangers))
        if len(found) != TEST_IMAGES:
            problems.add(f'expected labels for the {TEST_IMAGES} images of the test set, found '
                         f'{len(found)}; for another split pass its folder (option image_dir)')
        return
    for key in [key for key in found if key not in expected]:
        problems.add('not an image of image_dir; pass the folder of the split that was tested', key)
    there = set(found)
    for key in [key for key in expected if key not in there]:
        problems.add(f'expected labels for each of the {len(expected)} images in image_dir; missing', key)


def size_of(key: str, expected: Mapping[str, tuple[int, int]] | None) -> tuple[int, int] | None:
    """Size (width, height) that the label map of an image must have."""
    return TEST_SIZE if expected is None else expected.get(key)


def _members(maps: Mapping[str, LabelMap], table: np.ndarray,
             expected: Mapping[str, tuple[int, int]] | None,
             problems: Problems) -> Iterator[tuple[str, Iterable[bytes]]]:
    for key in tqdm(sorted(maps), desc='writing', unit='image', disable=None):
        entry = maps[key]
        try:
            labels = entry.load()
        except Fault as fault:
            problems.note(fault, entry.where)
            continue
        check_size(entry.where, labels.shape[::-1], size_of(key, expected), problems)
        numbers = table[labels]
        if (numbers < 0).any():
            value = int(labels[numbers < 0][0])
            problems.add('numbers must be ids of the kind that the option ids names: train (0 to 18) or '
                         'label (7, 8, 11, ... 33)', f'{entry.where}: {value}')
            continue
        yield f'{key}{IMAGE_SUFFIX}.png', [png_files.encode(numbers.astype(np.uint8))]
    problems.raise_if_any()
