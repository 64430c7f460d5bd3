"""Archives whose bytes depend on their contents only, written atomically and in pieces.

Entries carry a fixed time stamp, owner and mode, so that the same predictions give the same
SHA-256 on the same zlib; a run that is cut off leaves no half archive under the final name.
"""
from __future__ import annotations

import gzip
import hashlib
import os
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .report import SubmissionError

# The earliest date that zip can store.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_IN_MEMORY = 8 << 20  # bytes of a tar's member, whose size must be known first; beyond, it waits on the disk


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` that takes its place only if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with open(temporary, 'wb') as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def zip_with_one_member(path: Path, member: str) -> Iterator[BinaryIO]:
    """Open ``member`` at the root of a new zip for writing; the data is compressed as it comes."""
    info = _zip_info(member, zipfile.ZIP_DEFLATED)
    with atomic_file(path) as stream, zipfile.ZipFile(stream, 'w') as archive:
        with archive.open(info, 'w', force_zip64=True) as handle:
            yield handle


def write_zip(path: Path, members: Iterable[tuple[str, Iterable[bytes]]], compress: bool = False) -> None:
    """Write ``(name, pieces of data)`` pairs, in the order given, as a zip; one piece is in memory at a time.

    They are stored as they are, as fits PNG files, or compressed.
    """
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with atomic_file(path) as stream, zipfile.ZipFile(stream, 'w') as archive:
        for name, pieces in members:
            with archive.open(_zip_info(name, method), 'w') as handle:
                for piece in pieces:
                    handle.write(piece)


def _zip_info(member: str, compression: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(member, _ZIP_EPOCH)
    info.compress_type = compression
    info.external_attr = 0o644 << 16
    info.create_system = 3  # Unix, whatever the machine, for the bytes to be the same
    return info


def write_tar_gz(path: Path, members: Iterable[tuple[str, Iterable[bytes]]]) -> None:
    """Write ``(name, pieces of data)`` pairs, in the order given, as a gzip'd tar."""
    with (atomic_file(path) as stream,
          gzip.GzipFile('', 'wb', fileobj=stream, mtime=0) as packed,
          tarfile.open(fileobj=packed, mode='w', format=tarfile.USTAR_FORMAT) as archive):
        for name, pieces in members:
            with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=path.parent) as data:
                data.writelines(pieces)
                info = tarfile.TarInfo(name)
                info.size = data.tell()
                info.mode = 0o644
                data.seek(0)
                archive.addfile(info, data)


def checked_name(text: str, option: str) -> str:
    """``text`` if it may be part of an archive's name, else a :class:`SubmissionError`."""
    if not re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9._+-]*', text):
        raise SubmissionError(f'option {option}', [
            f'{text!r} cannot be part of a file name; expected letters, digits and . _ + - '
            'without spaces, e.g. adder-fcos-r50'])
    return text


def size_and_sha256(path: Path) -> tuple[int, str]:
    """Size in bytes and hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, 'rb') as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return path.stat().st_size, digest.hexdigest()
