"""PASCAL VOC detection: checking a result archive offline.

The server's e-mails ("Results were not generated properly", "Error while evaluating challenge")
do not say what was wrong, and come after a delay: these checks do. Sources: this folder's README.
"""
from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .archive_members import Member, number_in, open_tar_gz, text_lines
from .archives import size_and_sha256
from .report import Fault, Problems, Report, SubmissionError
from .splits import other_split
from .voc_det import (
    RESULTS_FIRST,
    VOC_CLASSES,
    check_classes,
    checked_competition,
    default_split,
    file_pattern,
    read_image_set,
)

_TOLERANCE = 0.01  # pixels; a box that ends at the image's border may be rounded up
_MOST_IMAGES = 200_000  # ids that are remembered; VOC's largest test set has 10,991
_IMAGE_ID = re.compile(r'[\w.-]{1,100}', re.ASCII)
_NAME = re.compile(r'results/VOC(?P<year>[^/]+)/Main/(?P<competition>comp\d)_det_'
                   r'(?P<split>[^_/]+)_(?P<label>[^/]+)\.txt')


def validate(path: str | Path, *, competition: str = 'comp4', year: str = '2012',
             split: str | None = None, image_set: str | Path | None = None,
             classes: Sequence[str] = VOC_CLASSES, image_dir: str | Path | None = None) -> Report:
    """Check a VOC detection archive, whoever wrote it.

    Args:
        path: The ``.tar.gz`` or ``.tgz``.
        competition: 'comp3' or 'comp4', as in the files' names.
        year: Year of the data set, as in the folder's name.
        split: Split in the files' names; default: the stem of ``image_set``, or 'test'.
        image_set: ``ImageSets/Main/test.txt``; without it image ids are not checked.
        classes: The classes that must have a file each.
        image_dir: ``JPEGImages``, whose headers give the images' sizes; without it the right and
            bottom bounds are not checked.

    Raises:
        SubmissionError: Lists every kind of problem found, with counts and examples.
    """
    path, problems = Path(path), Problems(path)
    check_classes(classes)
    split = split or default_split(image_set)
    pattern = file_pattern(checked_competition(competition), str(year), split)
    sizes = None if image_dir is None else _Sizes(Path(image_dir))
    lines = _Lines(problems, read_image_set(image_set), sizes)
    with open_tar_gz(path, problems) as members:
        found = _read_members(members, {pattern.format(name) for name in classes}, lines, problems)
    missing = [name for name in classes if pattern.format(name) not in found]
    if missing:
        problems.add(f'expected one file per class, {pattern.format("<class>")}; a class without '
                     f'detections keeps an empty one; missing: {", ".join(missing)}')
    problems.raise_if_any()
    size, sha256 = size_and_sha256(path)
    silent = [name for name in classes if not found[pattern.format(name)]]
    return Report('voc-det', path, sum(found.values()), len(lines.images), size, sha256,
                  [*other_split(split), *lines.warnings(silent)], [
                      f'one file for each of the {len(classes)} classes, {pattern.format("<class>")}',
                      'lines of six words, finite numbers, 1-based corners in order', *lines.checks()])


class _Sizes:
    """Image sizes, read from the files' headers when asked for."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise SubmissionError(folder, ['no such folder; expected the images of the split, '
                                           'e.g. VOC2012/JPEGImages (option image_dir)'])
        self._folder = folder
        self._known: dict[str, tuple[float, float]] = {}
        self.missing = 0

    def __getitem__(self, name: str) -> tuple[float, float]:
        """(width, height) of image ``name``; infinite if there is no such image."""
        if name not in self._known:
            self._known[name] = self._read(name)
        return self._known[name]

    def _read(self, name: str) -> tuple[float, float]:
        from PIL import Image
        for extension in ('.jpg', '.jpeg', '.png'):
            file = self._folder / f'{name}{extension}'
            if file.is_file():
                try:
                    with Image.open(file) as image:
                        return image.size
                except OSError as error:
                    raise SubmissionError(file, [f'cannot be read as an image ({error}); copy it again '
                                                 '(option image_dir)']) from error
        self.missing += 1
        return math.inf, math.inf


@dataclass
class _Lines:
    """Checks lines and remembers which images they speak of."""

    problems: Problems
    known: dict[str, None] | None
    sizes: _Sizes | None
    images: set[str] = field(default_factory=set)

    def check(self, line: str, where: str) -> None:
        """Note what is wrong with one line; ``where`` names file and line."""
        tokens = line.split(' ')
        if len(tokens) != 6 or not all(tokens):
            self.problems.add('a line must be <image id> <confidence> <left> <top> <right> '
                              '<bottom>, with single spaces', f'{where}: {line[:80]!r}')
            return
        name = tokens[0]
        if not _IMAGE_ID.fullmatch(name):
            self.problems.add('an image id must be at most 100 letters, digits and _ . -, as 2008_000001',
                              f'{where}: {name[:80]!r}')
            return
        if self.known is not None and name not in self.known:
            hint = ' without its extension' if Path(name).stem in self.known else ''
            self.problems.add(f'image id must be in the image set{hint}', f'{where}: {name!r}')
            return
        if name not in self.images and len(self.images) == _MOST_IMAGES:
            raise Fault(f'detections of more than {_MOST_IMAGES} images; is it an archive of VOC?')
        self.images.add(name)
        try:
            values = [number_in(token) for token in tokens[1:]]
        except ValueError:
            self.problems.add('confidence and box must be numbers', f'{where}: {line[:80]!r}')
            return
        if not all(map(math.isfinite, values)):
            self.problems.add('confidence and box must be finite; find out where the model yields '
                              'NaN or infinity', f'{where}: {line[:80]!r}')
            return
        fault = self._box_fault(name, *values[1:])
        if fault is not None:
            self.problems.add(fault, f'{where}: {line[:80]!r}')

    def _box_fault(self, name: str, left: float, top: float, right: float,
                   bottom: float) -> str | None:
        if left >= right or top >= bottom:
            return ('expected left < right and top < bottom (corners, not width and height); '
                    'drop boxes without extent')
        if min(left, top) < 1 - _TOLERANCE:
            return 'left and top must be at least 1: VOC pixels are 1-based, add 1 to all four'
        if self.sizes is not None:
            width, height = self.sizes[name]
            if right > width + 1 + _TOLERANCE or bottom > height + 1 + _TOLERANCE:
                return ('box must end inside the image (at most width + 1, height + 1); are the '
                        'boxes those of the resized image?')
        return None

    def checks(self) -> list[str]:
        """What was checked against the data set."""
        texts = [] if self.known is None else [f'image ids against the {len(self.known)} of the image set']
        return texts if self.sizes is None else [*texts, 'boxes inside of their images, up to width + 1, height + 1']

    def warnings(self, silent: list[str]) -> list[str]:
        """Skipped checks, and what looks odd but is allowed."""
        texts = []
        if silent:
            texts.append(f'no detection of {", ".join(silent)}')
        if self.known is None:
            texts.append('image ids were not checked: pass the image set (option image_set)')
        elif empty := len(self.known) - len(self.images):
            texts.append(f'{empty} of {len(self.known)} images have no detection')
        if self.sizes is None:
            texts.append('right and bottom bounds were not checked: pass the folder of the images '
                         '(option image_dir)')
        elif self.sizes.missing:
            texts.append(f'{self.sizes.missing} images are not in the folder of the images; their '
                         'bounds were not checked')
        return texts


def _read_members(members: Iterable[Member], expected: set[str], lines: _Lines,
                  problems: Problems) -> dict[str, int]:
    """Number of lines of each class's file."""
    found: dict[str, int] = {}
    for member in members:
        if member.name not in expected:
            problems.add(*_stranger(member.name, expected))
            continue
        found[member.name] = 0
        with member.open(problems) as stream:
            for count, line in enumerate(text_lines(stream), 1):
                lines.check(line.decode('utf-8', 'replace').rstrip('\r\n'), f'{Path(member.name).name} line {count}')
                found[member.name] = count
    return found


def _stranger(name: str, expected: set[str]) -> tuple[str, str]:
    """What is wrong with a member that is not expected, and its name."""
    if name.split('/')[0] != 'results':
        return RESULTS_FIRST, name
    wanted, found = _NAME.fullmatch(min(expected)), _NAME.fullmatch(name)
    for part in ('year', 'competition', 'split'):
        if wanted and found and wanted[part] != found[part]:
            return (f'expected files of {part} {wanted[part]}; rename them, or check with the '
                    f'option {part}'), name
    return 'only the files of the classes may be in the archive; take the others out', name
