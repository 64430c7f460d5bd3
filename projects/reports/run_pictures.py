"""A choice of a run's pictures, made small and turned into data URIs, so that a page needs no other file."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

SUFFIXES = ('.png', '.jpg', '.jpeg', '.webp')
LONGEST = 720
"""Pixels of the longer side of an embedded picture."""


@dataclass(frozen=True)
class Picture:
    """An embedded picture: its place below the work dir, its size in the page, and its content."""

    name: str
    width: int
    height: int
    uri: str


def embed(path: Path, name: str) -> Picture:
    """Shrink a picture to `LONGEST` pixels and encode it as JPEG.

    Raises:
        OSError, SyntaxError, ValueError: Pillow cannot read it.
    """
    with Image.open(path) as file:
        image = file.convert('RGB')
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, 'JPEG', quality=85)
    content = base64.b64encode(buffer.getvalue()).decode()
    return Picture(name, image.width, image.height, f'data:image/jpeg;base64,{content}')


def _found(session: Path) -> list[Path]:
    return sorted(path for path in session.rglob('*') if path.suffix.lower() in SUFFIXES)


def choose_pictures(folder: Path, sessions: list[Path], count: int) -> tuple[list[Picture], list[str]]:
    """`count` pictures of the newest session that has some, evenly spread over their sorted names.

    Returns:
        The pictures, and the places of those that could not be read.
    """
    found = next(filter(None, map(_found, reversed(sessions))), []) if count else []
    step = max(1.0, len(found) / count) if count else 1.0
    chosen = [found[int(index * step)] for index in range(min(count, len(found)))]
    pictures, broken = [], []
    for path in chosen:
        name = path.relative_to(folder).as_posix()
        try:
            pictures.append(embed(path, name))
        except (OSError, SyntaxError, ValueError):
            broken.append(name)
    return pictures, broken
