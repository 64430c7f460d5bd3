"""NTIRE and DIV2K super-resolution challenges: checking a result archive offline.

A missing image or readme makes the scoring program fail, a wrong size ends in an anonymous shape
error, and 16-bit, grey or transparent images are scored wrongly or not at all. Sources: this
folder's README.
"""
from __future__ import annotations

import math
import zipfile
from pathlib import Path

from tqdm import tqdm

from . import png_files
from .archives import SYSTEM_FILES, open_zip, size_and_sha256
from .ntire_sr import (
    README,
    README_LABELS,
    check_names_and_sizes,
    checked_naming,
    expected_sizes,
    file_name,
)
from .report import Problems, Report


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
    with open_zip(path, 'not a zip file; put the PNG files and readme.txt into one: zip -j '
                        'NAME.zip FOLDER/*.png FOLDER/readme.txt') as archive:
        members = _check_layout(archive, path, problems)
        readme = members.pop(README, None)
        if readme is None:
            problems.add(f'{README} with four lines must lie beside the images')
        else:
            _check_readme(archive.read(readme), problems)
        sizes = _check_images(archive, members, naming, problems)
    if not members:
        problems.add('expected one PNG for each image of the test set, found none')
    else:
        check_names_and_sizes(sizes, expected, problems)
    problems.raise_if_any()
    size, sha256 = size_and_sha256(path)
    unchecked = [] if expected else [
        'names and sizes were not checked: pass the folder of the inputs and the scale (options '
        'image_dir and scale)']
    return Report('ntire-sr', path, len(sizes), len(sizes), size, sha256, unchecked)


def _check_layout(archive: zipfile.ZipFile, path: Path,
                  problems: Problems) -> dict[str, zipfile.ZipInfo]:
    """The images and the readme, by name."""
    if path.suffix != '.zip':
        problems.add('the archive must be called NAME.zip; rename it', path.name)
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename
        if SYSTEM_FILES.search(name):
            problems.add('system files (__MACOSX, .DS_Store) in the zip; pack it with zip -j -X',
                         name)
        elif '/' in name or '\\' in name:
            problems.add('all files must lie at the root of the zip, without a folder; pack it '
                         'with zip -j', name)
        elif name in members:
            problems.add('a file appears more than once in the archive', name)
        elif name != README and not name.endswith('.png'):
            problems.add(f'only PNG files (.png) and {README} may be in the archive', name)
        else:
            members[name] = info
    return members


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
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def _check_images(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], naming: str,
                  problems: Problems) -> dict[str, tuple[int, int] | None]:
    """Sizes (width, height) of the images; None for those that are broken or no 8-bit RGB."""
    sizes: dict[str, tuple[int, int] | None] = dict.fromkeys(members)
    for name, info in tqdm(members.items(), desc='checking', unit='image', disable=None):
        if file_name(Path(name).stem, naming) != name:
            problems.add('naming id expects the number alone, as 0901.png', name)
        data = archive.read(info)
        header = png_files.read_header(data)
        fault = png_files.format_fault(header)
        if fault is not None:
            problems.add(fault, f'{name}: {header[1]}' if header else name)
        elif (reason := png_files.decode_fault(data)) is not None:
            problems.add('the pixels cannot be decoded; write the file again',
                         f'{name}: {reason}')
        else:
            sizes[name] = header[0]
    return sizes
