"""Archives whose bytes depend on their contents only, written atomically.

Entries carry a fixed time stamp, owner and mode, so that the same predictions give the same
SHA-256 on the same zlib; a run that is cut off leaves no half archive under the final name.
"""
from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .report import Problems, SubmissionError

# The earliest date that zip can store.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
PACK_RESULTS = 'pack it from the folder above: tar czf NAME.tar.gz results'
# What operating systems put into archives and folders on their own.
SYSTEM_FILES = re.compile(r'(^|/)(__MACOSX|\.DS_Store|\._[^/]*|Thumbs\.db)(/|$)')


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


def write_zip(path: Path, members: Iterable[tuple[str, bytes]], compress: bool = False) -> None:
    """Write ``(name, data)`` pairs, in the order given, as a zip; one member is in memory at a time.

    They are stored as they are, as fits PNG files, or compressed.
    """
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with atomic_file(path) as stream, zipfile.ZipFile(stream, 'w') as archive:
        for name, data in members:
            archive.writestr(_zip_info(name, method), data)


def _zip_info(member: str, compression: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(member, _ZIP_EPOCH)
    info.compress_type = compression
    info.external_attr = 0o644 << 16
    info.create_system = 3  # Unix, whatever the machine, for the bytes to be the same
    return info


@contextmanager
def open_zip(path: Path, no_zip: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip that is to be checked.

    Args:
        path: The file.
        no_zip: What the error says if it is no zip.

    Raises:
        SubmissionError: The file is missing or no zip, or cannot be read in the block.
    """
    if not path.is_file():
        raise SubmissionError(path, ['no such file'])
    if not zipfile.is_zipfile(path):
        raise SubmissionError(path, [no_zip])
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        # Damaged, packed by an unknown method, or encrypted.
        raise SubmissionError(path, [f'cannot be unzipped ({error}); pack it again with the '
                                     'deflate method and no password']) from error


def write_tar_gz(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write ``(name, data)`` pairs, in the order given, as a gzip'd tar."""
    with (atomic_file(path) as stream,
          gzip.GzipFile('', 'wb', fileobj=stream, mtime=0) as packed,
          tarfile.open(fileobj=packed, mode='w', format=tarfile.USTAR_FORMAT) as archive):
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o644
            archive.addfile(info, io.BytesIO(data))


@contextmanager
def open_tar_gz(path: Path, problems: Problems) -> Iterator[tarfile.TarFile]:
    """Open a gzip'd tar with results/ in it that is to be checked; a wrong ending is noted in ``problems``.

    Raises:
        SubmissionError: The file is missing, not compressed with gzip, or cannot be read in the block.
    """
    if not path.is_file():
        raise SubmissionError(path, ['no such file'])
    if not path.name.endswith(('.tar.gz', '.tgz')):
        problems.add('the archive must be called NAME.tar.gz or NAME.tgz', path.name)
    with open(path, 'rb') as stream:
        if stream.read(2) != b'\x1f\x8b':
            raise SubmissionError(path, [
                *problems.lines(), 'not compressed with gzip (a plain tar or a zip is not '
                f'evaluated); {PACK_RESULTS}'])
    try:
        with tarfile.open(path, 'r:gz') as archive:
            yield archive
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise SubmissionError(path, [f'cannot be unpacked ({error}); {PACK_RESULTS}']) from error


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
