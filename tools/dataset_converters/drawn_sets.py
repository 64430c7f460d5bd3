"""Folders of drawn data sets: one that is there with the same arguments is kept, a new one appears as a whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

STAMP = 'dataset.json'
"""File of a finished set that holds its arguments."""


def make_folder(out: Path, arguments: dict, fill: Callable[[Path], None], force: bool = False,
                also: str | None = None) -> Path:
    """Make a folder beside `out` and put it in its place.

    Args:
        out: Absolute path of the set.
        arguments: What decides the set's content.
        fill: Writes the set into the folder that it is given, which exists and is empty.
        force: Make it again although it is there.
        also: A folder that a set of this kind has beside its stamp.

    Returns:
        `out`.

    Raises:
        FileExistsError: `out` has other things in it and was not made by this tool.
    """
    stamp = out / STAMP
    if stamp.is_file() and json.loads(stamp.read_text()) == arguments and not force:
        return out
    made_here = stamp.is_file() and (also is None or (out / also).is_dir())
    if out.exists() and any(out.iterdir()) and not made_here:
        raise FileExistsError(f'{out} exists and was not made by this tool, so it is left alone: choose another folder '
                              'with --out')
    root = out.with_name(f'.{out.name}.partial')
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    fill(root)
    (root / STAMP).write_text(json.dumps(arguments) + '\n')
    if out.exists():
        shutil.rmtree(out)
    os.replace(root, out)
    return out
