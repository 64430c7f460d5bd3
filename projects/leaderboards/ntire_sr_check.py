"""NTIRE and DIV2K super-resolution challenges: checking a result archive offline.

A missing image or readme makes the scoring program fail, a wrong size ends in an anonymous shape
error, and 16-bit, grey or transparent images are scored wrongly or not at all. Sources: this
folder's README.
"""
from __future__ import annotations

import math
from pathlib import Path

from . import png_files
from .archive_members import Member, number_in, open_zip
from .archives import size_and_sha256
from .ntire_sr import (
    README,
    README_LABELS,
    check_names_and_sizes,
    checked_naming,
    expected_sizes,
    file_name,
)
from .report import Problems, Report

_LARGEST_README = 1 << 16  # bytes


def validate(path: str | Path, *, naming: str = 'keep', image_dir: str | Path | None = None,
             scale: int = 1) -> Report:
    """Check a result archive, whoever wrote it.

    Args:
        path: The zip.
        naming: 'keep' or 'id', as for writing.
        image_dir: Folder of the inputs (with ``scale``) or of images of the results' size.
            Without it, names and sizes are not checked.
        scale: Size of the results over that of the images in ``image_dir``.

    Raises:
        SubmissionError: Lists every kind of problem found, with counts and examples.
    """
    path, problems = Path(path), Problems(path)
    expected = expected_sizes(image_dir, checked_naming(naming), scale)
    sizes: dict[str, tuple[int, int] | None] = {}
    with open_zip(path, 'put the PNG files and readme.txt into one: zip -j -X NAME.zip FOLDER/*.png FOLDER/readme.txt',
                  problems) as members:
        if all(member.name != README for member in members):
            problems.add(f'{README} with four lines must lie beside the images')
        for member in members:
            if member.name == README:
                if member.fits(_LARGEST_README, f'{README} must have four lines', problems):
                    with member.open(problems) as stream:
                        _check_readme(stream.read(), problems)
            elif _is_image(member.name, problems):
                sizes[member.name] = _check_image(member, naming, problems)
    if not sizes:
        problems.add('expected one PNG for each image of the test set, found none')
    else:
        check_names_and_sizes(sizes, expected, problems)
    problems.raise_if_any()
    size, sha256 = size_and_sha256(path)
    unchecked = [] if expected else [
        'names and sizes were not checked: pass the folder of the inputs and the scale (options '
        'image_dir and scale)']
    return Report('ntire-sr', path, len(sizes), len(sizes), size, sha256, unchecked, [
        f'PNG files and {README} with its four lines at the root, nothing else', '8-bit RGB that decodes',
        *([f'one result for each of the {len(expected)} images in {image_dir}, of {scale} times its size']
          if expected else [])])


def _is_image(name: str, problems: Problems) -> bool:
    """Whether a name is that of an image at the root; if not, that is noted."""
    if '/' in name:
        problems.add('all files must lie at the root of the zip, without a folder; pack it with zip -j', name)
    elif not name.endswith('.png'):
        problems.add(f'only PNG files (.png) and {README} may be in the archive', name)
    return '/' not in name and name.endswith('.png')


def _check_readme(data: bytes, problems: Problems) -> None:
    lines = data.decode('utf-8', 'replace').rstrip().splitlines()
    if len(lines) != len(README_LABELS):
        problems.add(f'{README} must have four lines, found {len(lines)}; they begin with: '
                     f'{"; ".join(README_LABELS)}')
        return
    for number, (line, label) in enumerate(zip(lines, README_LABELS, strict=True), 1):
        head, found, value = line.partition(f'{label} : ')
        if head or not found or not value.strip():
            problems.add(f'line {number} of {README} must read "{label} : VALUE"', repr(line[:80]))
        elif number == 1 and not _is_time(value):
            problems.add(f'line 1 of {README} must give seconds above 0', repr(line[:80]))
        elif number in (2, 3) and value.strip() not in ('0', '1'):
            problems.add(f'line {number} of {README} must end in 0 or 1', repr(line[:80]))


def _is_time(text: str) -> bool:
    try:
        return 0 < number_in(text.strip()) < math.inf
    except ValueError:
        return False


def _check_image(member: Member, naming: str, problems: Problems) -> tuple[int, int] | None:
    """Size (width, height) of an image; None if it is broken or no 8-bit RGB."""
    if file_name(Path(member.name).stem, naming) != member.name:
        problems.add('naming id expects the number alone, as 0901.png', member.name)
    if not member.fits(png_files.LARGEST_PNG, png_files.TOO_LARGE, problems):
        return None
    with member.open(problems) as stream:
        data = stream.read()
        size = png_files.check_rgb(data)
        png_files.decode(data)
        return size
    return None
