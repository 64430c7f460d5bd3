"""NTIRE and DIV2K super-resolution challenges: writing the result archive.

A flat zip with one 8-bit RGB PNG per test image, of the size of the ground truth, and a
``readme.txt`` of exactly four lines. Two namings are in use: that of the low-resolution input
(``0901x4.png``), and its number alone (``0901.png``). Sources: this folder's README.
"""
from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from . import png_files
from .archives import checked_name, write_zip
from .detections import to_array
from .report import Fault, Problems, SubmissionError
from .results_file import load_results

README = 'readme.txt'
README_LABELS = ('runtime per image [s]', 'CPU[1] / GPU[0]', 'Extra Data [1] / No Extra Data [0]',
                 'Other description')
_SUBJECT = 'predictions for ntire-sr'
_IMAGES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')


@dataclass(frozen=True)
class _Result:
    """One image to submit: where it is from, its size (width, height), its file or pixels."""

    where: str
    size: tuple[int, int]
    content: Path | np.ndarray

    def png(self) -> bytes:
        if isinstance(self.content, Path):
            return self.content.read_bytes()
        return png_files.encode(self.content)


def read(path: str | Path) -> Path | list[dict]:
    """What :func:`write` takes: a folder as it is, or the predictions of a file."""
    return Path(path) if Path(path).is_dir() else load_results(path)


def write(results: str | Path | Iterable[Mapping], out: str | Path, *, name: str, runtime: float,
          device: str, extra_data: bool, description: str, naming: str = 'keep',
          image_dir: str | Path | None = None, scale: int = 1) -> Path:
    """Write ``<name>.zip`` into the folder ``out``.

    Args:
        results: A folder of PNG files, whose bytes are kept; or predictions, one dict per image
            with ``img_path`` of the input and ``pred_img`` (3, H, W) RGB in 0..255, which is
            clamped and rounded; see :func:`load_results`.
        out: Folder for the archive; made if missing.
        name: Name of the archive, without spaces.
        runtime: Seconds per image.
        device: 'cpu' or 'gpu', where the runtime was measured.
        extra_data: Whether other data than the challenge's was trained on.
        description: One line on method, hardware and data.
        naming: 'keep' names results like their inputs, 'id' by the number that these begin with.
        image_dir: Folder of the inputs (with ``scale``) or of images of the results' size, to
            check names and sizes against.
        scale: Size of the results over that of the images in ``image_dir``.

    Raises:
        SubmissionError: Images that are not 8-bit RGB or not numbers, wrong names or sizes,
            missing or repeated images, options out of range. Nothing is left at the archive's
            place.
    """
    readme = _readme(runtime, device, extra_data, description)
    path = Path(out) / f'{checked_name(name, "name")}.zip'
    problems = Problems(_SUBJECT)
    expected = expected_sizes(image_dir, checked_naming(naming), scale)
    named: dict[str, _Result] = {}
    for stem, result in _read(results, problems):
        file = file_name(stem, naming)
        if file is None:
            problems.add('naming id needs names that begin with a number, as 0901x4.png; use '
                         'naming keep', result.where)
        elif file in named:
            problems.add('two results would have the same name', f'{file}: {result.where}')
        else:
            named[file] = result
    if not named:
        problems.add('no results; expected a folder of PNG files, or predictions of tools/test.py')
    problems.raise_if_any()
    check_names_and_sizes({file: result.size for file, result in named.items()}, expected, problems)
    problems.raise_if_any()
    write_zip(path, _members(named, readme))
    return path


def file_name(stem: str, naming: str) -> str | None:
    """Name of a result in the archive; None if ``stem`` has no number for naming 'id'."""
    if naming == 'keep':
        return f'{stem}.png'
    number = re.match(r'\d+', stem)
    return None if number is None else f'{number[0]}.png'


def checked_naming(naming: str) -> str:
    """``naming`` if it is one of the two."""
    if naming not in ('keep', 'id'):
        raise SubmissionError('option naming', [
            f'{naming!r}; expected keep (0901x4.png, as the input) or id (0901.png)'])
    return naming


def expected_sizes(image_dir: str | Path | None, naming: str,
                   scale: int) -> dict[str, tuple[int, int]] | None:
    """Name and size (width, height) of each result that the images in ``image_dir`` ask for."""
    if scale != int(scale) or scale < 1:
        raise SubmissionError('option scale', [f'{scale}; expected an integer of at least 1'])
    if image_dir is None:
        return None
    from PIL import Image
    folder, sizes = Path(image_dir), {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = file_name(file.stem, naming)
        if file.suffix.lower() in _IMAGES and name is not None:
            try:
                with Image.open(file) as image:
                    sizes[name] = (image.width * scale, image.height * scale)
            except OSError as error:
                raise SubmissionError(file, [f'cannot be read as an image ({error}); copy it '
                                             'again (option image_dir)']) from error
    if not sizes:
        raise SubmissionError(folder, [
            'no such folder, or no images in it that fit the naming; expected the inputs, e.g. '
            'DIV2K_test_LR_bicubic/X4 with scale 4, or images of the size of the results (option '
            'image_dir)'])
    return sizes


def check_names_and_sizes(found: Mapping[str, tuple[int, int] | None],
                          expected: Mapping[str, tuple[int, int]] | None,
                          problems: Problems) -> None:
    """Note results that are missing, unknown, or of another size than expected.

    A size of None is that of a broken file, which is reported elsewhere.
    """
    if expected is None:
        return
    for name, size in found.items():
        if name not in expected:
            problems.add('only results of the images in image_dir are expected, and under their '
                         'names (option naming: keep or id)', name)
        elif size is not None and size != expected[name]:
            problems.add('a result must have the size of its ground truth, scale times that of '
                         'the input (options scale and image_dir)',
                         f'{name}: {_text(size)}, expected {_text(expected[name])}')
    for name in [name for name in expected if name not in found]:
        problems.add(f'expected a result for each of the {len(expected)} images in image_dir; '
                     'missing', name)


def _text(size: tuple[int, int]) -> str:
    return f'{size[0]} x {size[1]}'


def _readme(runtime: float, device: str, extra_data: bool, description: str) -> bytes:
    """The four lines, in the wording that the scoring programs ask for."""
    if not isinstance(runtime, (int, float)) or not 1e-6 <= runtime < math.inf:
        raise SubmissionError('option runtime', [f'{runtime!r}; expected seconds per image'])
    if device not in ('cpu', 'gpu'):
        raise SubmissionError('option device', [f'{device!r}; expected cpu or gpu, where the '
                                                'runtime was measured'])
    if extra_data not in (0, 1):
        raise SubmissionError('option extra_data', [
            f'{extra_data!r}; expected 1 (trained on other data, too) or 0'])
    if not description.strip() or len(description.splitlines()) != 1:
        raise SubmissionError('option description', [
            f'{description!r}; expected one line on method, hardware and training data'])
    seconds = f'{runtime:.6f}'.rstrip('0').rstrip('.')
    values = (seconds, int(device == 'cpu'), int(extra_data), description.strip())
    return ''.join(f'{label} : {value}\n'
                   for label, value in zip(README_LABELS, values, strict=True)).encode()


def _read(results: str | Path | Iterable[Mapping],
          problems: Problems) -> Iterator[tuple[str, _Result]]:
    """Stem and content of each result that can be submitted."""
    if not isinstance(results, (str, Path)):
        for position, result in enumerate(results):
            yield from _from_prediction(position, result, problems)
        return
    folder = Path(results)
    if not folder.is_dir():
        raise SubmissionError(folder, ['no such folder; expected one with a PNG per image'])
    for file in sorted(folder.glob('*.png')):
        with open(file, 'rb') as stream:
            try:
                yield file.stem, _Result(str(file), png_files.check_rgb(stream.read(png_files.HEADER_BYTES)), file)
            except Fault as fault:
                problems.note(fault, str(file))


def _from_prediction(position: int, result: Any,
                     problems: Problems) -> Iterator[tuple[str, _Result]]:
    lacks = [key for key in ('img_path', 'pred_img')
             if not isinstance(result, Mapping) or result.get(key) is None]
    if lacks:
        problems.add('each result must be a dict with img_path and pred_img (is this the dump of '
                     'a restoration model?)', f'result {position} lacks {", ".join(lacks)}')
        return
    where, pixels = str(result['img_path']), to_array(result['pred_img'])
    if pixels.ndim != 3 or pixels.shape[0] != 3 or not pixels.size:
        problems.add('pred_img must have the shape (3, H, W), RGB', f'{where}: {pixels.shape}')
    elif not np.isfinite(pixels).all():
        problems.add('pred_img must be finite; find out where the model yields NaN or infinity',
                     where)
    else:
        image = pixels.clip(0, 255).round().astype(np.uint8).transpose(1, 2, 0)
        yield Path(where).stem, _Result(where, (image.shape[1], image.shape[0]), image)


def _members(named: Mapping[str, _Result], readme: bytes) -> Iterator[tuple[str, Iterable[bytes]]]:
    for name in tqdm(sorted(named), desc='writing', unit='image', disable=None):
        yield name, [named[name].png()]
    yield README, [readme]
