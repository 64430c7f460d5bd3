"""PASCAL VOC segmentation ("comp5" and "comp6"): writing the result archive.

One PNG per test image, ``results/VOC2012/Segmentation/comp6_test_cls/<image id>.png``, in a gzip'd
tar: 8-bit with the VOC palette, 0 background, 1 to 20 the classes. What counts is the number of a
pixel; the palette is attached without touching it. comp5 is for models trained on VOC data only,
comp6 for own data (the masks of SBD are own data). Sources: this folder's README.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import png_files
from .archives import checked_name, write_tar_gz
from .label_maps import LabelMap, check_size, image_sizes, label_maps
from .report import Fault, Problems, SubmissionError
from .voc_det import default_split, read_image_set

NUM_CLASSES = 21
TEST_IMAGES = 1456
"""Images of VOC2012's test set of segmentation."""
_SUBJECT = 'predictions for voc-seg'


def colour_map(count: int = 256) -> np.ndarray:
    """VOC's palette, (count, 3) uint8: the bits of a label, dealt out to red, green and blue."""
    labels = np.arange(count)
    palette = np.zeros((count, 3), dtype=np.uint8)
    for place in range(8):
        for channel in range(3):
            palette[:, channel] |= ((labels >> (3 * place + channel) & 1) << (7 - place)).astype(np.uint8)
    return palette


def write(results: str | Path | Iterable[Mapping], out: str | Path, *, name: str,
          competition: str = 'comp6', year: str = '2012', split: str | None = None,
          image_set: str | Path | None = None, image_dir: str | Path | None = None) -> Path:
    """Write ``<competition>_<split>_<name>.tar.gz`` into the folder ``out``.

    Args:
        results: A folder of label images, or predictions with ``img_path`` and ``pred_sem_seg``;
            labels are mmseg's for VOC, 0 background to 20.
        out: Folder for the archive; made if missing.
        name: Name of the algorithm, without spaces.
        competition: 'comp5' or 'comp6'.
        year: Year of the data set, in the folder's name.
        split: Split in the folder's name; default: the stem of ``image_set``, or 'test'.
        image_set: ``ImageSets/Segmentation/test.txt``, to check that every image has its labels.
        image_dir: ``JPEGImages``, to check sizes against.

    Raises:
        SubmissionError: Labels above 20, wrong sizes, unknown, missing or repeated images. Nothing
            is left at the archive's place.
    """
    split = checked_name(split or default_split(image_set), 'split')
    folder = folder_name(competition, checked_name(str(year), 'year'), split)
    path = Path(out) / f'{competition}_{split}_{checked_name(name, "name")}.tar.gz'
    problems = Problems(_SUBJECT)
    maps = label_maps(results, problems)
    check_names([entry.stem for entry in maps], read_image_set(image_set), problems)
    problems.raise_if_any()
    sizes = image_sizes(image_dir) if image_dir else {}
    write_tar_gz(path, _members(maps, folder, sizes, problems))
    return path


def folder_name(competition: str, year: str, split: str) -> str:
    """Folder of the PNG files in the archive."""
    if competition not in ('comp5', 'comp6'):
        raise SubmissionError('option competition', [
            f'{competition!r}; expected comp5 (trained on VOC data only) or comp6 (own data, for '
            'example the masks of SBD)'])
    return f'results/VOC{year}/Segmentation/{competition}_{split}_cls'


def check_names(stems: Iterable[str], known: Mapping[str, None] | None, problems: Problems) -> None:
    """Note images that appear twice, are not in the image set, or have no labels."""
    seen: set[str] = set()
    for stem in stems:
        if stem in seen:
            problems.add('an image appears more than once', stem)
        elif known is not None and stem not in known:
            problems.add('image ids must be in the image set; pass the one of the split that was tested '
                         '(option image_set)', stem)
        seen.add(stem)
    for name in [] if known is None else [name for name in known if name not in seen]:
        problems.add(f'expected labels for each of the {len(known)} images of the image set; missing', name)


def label_fault(labels: np.ndarray) -> str | None:
    """What is wrong with the numbers of a label map, or None."""
    if (labels == 255).any():
        return '255 (void) must not occur in predictions; every pixel needs a class of 0 to 20'
    if labels.max(initial=0) >= NUM_CLASSES:
        return ('labels must be 0 (background) to 20; are they of another data set, or an image that '
                'an adaptive palette re-ordered?')
    return None


def _members(maps: list[LabelMap], folder: str, sizes: Mapping[str, tuple[int, int]],
             problems: Problems) -> Iterator[tuple[str, Iterable[bytes]]]:
    palette = colour_map()
    for entry in tqdm(maps, desc='writing', unit='image', disable=None):
        try:
            labels = entry.load()
        except Fault as fault:
            problems.note(fault, entry.where)
            continue
        if (fault := label_fault(labels)) is not None:
            problems.add(fault, f'{entry.where}: {int(labels.max())}')
        check_size(entry.where, labels.shape[::-1], sizes.get(entry.stem), problems)
        yield f'{folder}/{entry.stem}.png', [png_files.encode(labels, palette)]
    problems.raise_if_any()
