"""Reading archives that nobody vouches for: entries are checked one by one, and never read as a whole.

Whatever an archive claims or unpacks to, a few megabytes are in memory: reads are limited in size, declared sizes are
checked before and actual ones while unpacking. What no server takes is noted here for all tracks: names that lead
outside, are doubled, or are not UTF-8; links; passwords; damage. Sources: this folder's README.
"""
from __future__ import annotations

import copy
import gzip
import io
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from .report import Fault, Problems, SubmissionError

PACK_RESULTS = 'pack it from the folder above: tar czf NAME.tar.gz results'
LARGEST_UNPACKED = 64 << 30
"""Bytes that an archive may unpack to; far above any real submission, and below what fills a server's disk."""
_PIECE = 1 << 20
_LARGEST_READ = 32 << 20  # of a zip's directory (some 250,000 entries), or of a header in a tar
_MOST_MEMBERS = 300_000
# What operating systems put into archives and folders on their own.
_SYSTEM_FILES = re.compile(r'(^|/)(__MACOSX|\.DS_Store|\._[^/]*|Thumbs\.db)(/|$)')
_NUMBER = re.compile(r'[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|nan|inf(inity)?)', re.ASCII | re.IGNORECASE)
_UTF8_FLAG, _ENCRYPTED_FLAGS = 0x800, 0x2041
_BOMB = (f'unpacks to more than {LARGEST_UNPACKED >> 30} GiB, which is no submission of this track; write fewer '
         'results of low score')


@dataclass(frozen=True)
class Member:
    """A plain file in an archive.

    Attributes:
        name: Its path there.
        size: Bytes that it unpacks to, as the archive says; what really comes is compared with it.
        source: Function that opens it.
        bar: Counts its bytes.
    """

    name: str
    size: int
    source: Callable[[], BinaryIO]
    bar: tqdm

    @contextmanager
    def open(self, problems: Problems) -> Iterator[BinaryIO]:
        """Open it for reading; a :class:`Fault`, damage included, ends the block and is noted in ``problems``."""
        try:
            with io.BufferedReader(_Counted(self), _PIECE) as reader:
                yield reader
        except Fault as fault:
            problems.note(fault, self.name)

    def fits(self, limit: int, kind: str, problems: Problems) -> bool:
        """Whether it has at most ``limit`` bytes; if not, that is noted as ``kind``."""
        if self.size > limit:
            problems.add(kind, f'{self.name}: {self.size} bytes, at most {limit} are expected')
        return self.size <= limit


def text_lines(stream: BinaryIO, longest: int = 4096) -> Iterator[bytes]:
    """The lines of a stream, with their ends.

    Raises:
        Fault: A line has more than ``longest`` bytes.
    """
    while line := stream.readline(longest + 1):
        if len(line) > longest:
            raise Fault(f'a line has more than {longest} bytes; is it a text file of this track?', repr(line[:40]))
        yield line


def number_in(text: str) -> float:
    """The number that a text of plain decimal notation, NaN or infinity stands for.

    Raises:
        ValueError: It is none. Python's own ``float`` takes ``1_0`` and digits of other scripts, which servers do not.
    """
    if not _NUMBER.fullmatch(text):
        raise ValueError(f'no number: {text[:40]!r}')
    return float(text)


@contextmanager
def open_zip(path: Path, pack: str, problems: Problems) -> Iterator[list[Member]]:
    """The plain files of a zip, in its order; what no server takes is noted and left out.

    Args:
        path: The archive; it must be called NAME.zip.
        pack: How such a zip is made, ends messages.
        problems: Receives what is wrong.

    Raises:
        SubmissionError: The file is missing, is no zip, or unpacks to too much.
    """
    if not path.is_file():
        raise SubmissionError(path, ['no such file'])
    with open(path, 'rb', buffering=0) as raw, _open_directory(path, raw, pack) as archive:
        if path.suffix != '.zip':
            problems.add('the archive must be called NAME.zip; rename it', path.name)
        infos = [info for info in archive.infolist() if not info.is_dir()]
        total = sum(info.file_size for info in infos)
        if total > LARGEST_UNPACKED:
            raise SubmissionError(path, [*problems.lines(), f'{_BOMB} [{total} bytes]'])
        with tqdm(total=total, unit='B', unit_scale=True, desc='checking', disable=None) as bar:
            yield list(_zip_members(archive, pack, problems, bar))


class _BoundedReader(io.BufferedReader):
    """A file of which nobody takes more than a piece at a time."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _LARGEST_READ:
            raise Fault('too much at a time', f'{size} bytes')
        return super().read(size)


@contextmanager
def _open_directory(path: Path, raw: BinaryIO, pack: str) -> Iterator[zipfile.ZipFile]:
    reader = _BoundedReader(raw)
    try:
        archive = zipfile.ZipFile(reader) if zipfile.is_zipfile(reader) else None
    except UnicodeDecodeError as error:
        raise SubmissionError(path, [f'{_NOT_UTF8}; {pack} [{error.object[:200]!r}]']) from error
    except Exception as error:  # a damaged directory can make zipfile raise nearly anything
        raise SubmissionError(path, [f'cannot be unzipped, its list of files is damaged ({error}); {pack}']) from error
    if archive is None:
        raise SubmissionError(path, [f'not a zip file; {pack}'])
    with archive:
        yield archive


def _zip_members(archive: zipfile.ZipFile, pack: str, problems: Problems, bar: tqdm) -> Iterator[Member]:
    seen: set[str] = set()
    for info in archive.infolist():
        fault = _name_fault(info.orig_filename, seen, pack) or _zip_fault(info)
        if fault is not None:
            problems.add(fault, info.orig_filename)
        elif not info.is_dir():
            seen.add(info.orig_filename)
            yield Member(info.filename, info.file_size, lambda info=info: _open_entry(archive, info), bar)


_NOT_UTF8 = 'names in the archive must be UTF-8, better plain letters, digits, _ and -'


def _name_fault(name: str, seen: set[str], pack: str) -> str | None:
    """What is wrong with the name of an entry, given those before it."""
    parts = name.replace('\\', '/').split('/')
    if _SYSTEM_FILES.search(name):
        return f'system files (__MACOSX, .DS_Store) in the archive; {pack}'
    if '..' in parts or not parts[0] or ':' in parts[0] or '\\' in name:
        return f'paths in the archive must stay inside of it: none absolute, no .., no backslashes; {pack}'
    if '\0' in name or any('\ud800' <= character <= '\udfff' for character in name):
        return _NOT_UTF8
    return 'a file appears more than once in the archive' if name in seen else None


def _zip_fault(info: zipfile.ZipInfo) -> str | None:
    """What is wrong with an entry apart from its name."""
    kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0
    if not info.orig_filename.isascii() and not info.flag_bits & _UTF8_FLAG:
        return _NOT_UTF8
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return 'links and devices must not be in the archive; pack the files themselves'
    if info.flag_bits & _ENCRYPTED_FLAGS:
        return 'a file is encrypted; pack it without a password'
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return 'a file is compressed by another method than deflate; pack it again'
    return None


def _open_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    # zipfile stops at the declared size without a word; with another one everything comes, to be counted
    limitless = copy.copy(info)
    limitless.file_size = 1 << 62
    return archive.open(limitless)


class _Counted(io.RawIOBase):
    """Passes a member's bytes on, compares their number with the declared one, and turns errors into faults."""

    def __init__(self, member: Member) -> None:
        self._member, self._stream, self._count = member, None, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = self._member.size
        try:
            if self._stream is None:
                self._stream = self._member.source()
            data = self._stream.read(min(len(buffer), _PIECE))
        except Fault:
            raise
        except Exception as error:  # damaged data can raise nearly anything
            raise Fault('a file cannot be unzipped or unpacked, it is damaged; pack it again',
                        f'{error or type(error).__name__}') from error
        self._count += len(data)
        if self._count > size or (not data and self._count < size):
            raise Fault('a file unpacks to another size than the archive says; pack it again',
                        f'{size} bytes declared, {"more" if data else self._count} found')
        buffer[:len(data)] = data
        self._member.bar.update(len(data))
        return len(data)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        super().close()


# ---- tar

@contextmanager
def open_tar_gz(path: Path, problems: Problems) -> Iterator[Iterator[Member]]:
    """The plain files of a gzip'd tar, in its order; each must be read before the next one is asked for.

    Args:
        path: The archive; it must be called NAME.tar.gz or NAME.tgz.
        problems: Receives what is wrong: the archive's name, and entries that no server takes.

    Raises:
        SubmissionError: The file is missing, not compressed with gzip, damaged, or unpacks to too much.
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
        stream.seek(0)
        with tqdm(total=path.stat().st_size, unit='B', unit_scale=True, desc='checking', disable=None) as bar:
            yield _tar_members(path, _Unpacked(stream, bar), problems)


class _Unpacked(io.RawIOBase):
    """What is in a gzip file, read forwards in pieces.

    tarfile itself would read a header of any size at once, and unpack from the beginning to step back by a byte.
    """

    def __init__(self, stream: BinaryIO, bar: tqdm) -> None:
        self._stream, self._bar = stream, bar
        self._gzip = gzip.GzipFile(fileobj=stream)
        self._position, self._last, self._held = 0, b'', b''

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LARGEST_READ:
            raise Fault('a header claims too much', f'{size} bytes')
        data = self._held[:size]
        self._held = self._held[size:]
        data += self._gzip.read(size - len(data))
        self._position += len(data)
        if self._position > LARGEST_UNPACKED:
            raise Fault(_BOMB)
        self._last = data[-1:] or self._last
        self._bar.update(self._stream.tell() - self._bar.n)
        return data

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = 0) -> int:
        if position == self._position - 1 and not self._held:
            self._held, self._position = self._last, position
        elif position < self._position:
            raise Fault('a header leads backwards')
        while position > self._position and self.read(min(position - self._position, _PIECE)):
            pass
        return self._position


def _tar_members(path: Path, stream: _Unpacked, problems: Problems) -> Iterator[Member]:
    seen: set[str] = set()
    with _tar_errors(path, problems):
        archive = tarfile.open(fileobj=stream, mode='r:', encoding='utf-8', errors='surrogateescape')
    silent, count = tqdm(disable=True), 0  # the archive's own bytes are counted
    while True:
        with _tar_errors(path, problems):
            info = archive.next()
            archive.members.clear()  # tarfile would keep all
        if info is None:
            break
        count += 1
        if count > _MOST_MEMBERS:
            raise SubmissionError(path, [*problems.lines(), f'more than {_MOST_MEMBERS} entries; {PACK_RESULTS}'])
        fault = _name_fault(info.name, seen, PACK_RESULTS) or _tar_fault(info)
        if fault is not None:
            problems.add(fault, info.name)
        elif not info.isdir():
            seen.add(info.name)
            yield Member(info.name, info.size, lambda info=info: archive.extractfile(info), silent)
    with _tar_errors(path, problems):  # to the end, for gzip's checksum
        while stream.read(_PIECE):
            pass


def _tar_fault(info: tarfile.TarInfo) -> str | None:
    if info.issym() or info.islnk():
        return 'links must not be in the archive; pack the files themselves (tar -h)'
    if not info.isdir() and info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        return 'only plain files and folders may be in the archive, no devices or sparse files'
    return None


@contextmanager
def _tar_errors(path: Path, problems: Problems) -> Iterator[None]:
    """Turn what a damaged archive makes tarfile and gzip raise into an error that says so."""
    try:
        yield
    except Exception as error:  # nearly anything
        text = str(error) or type(error).__name__
        raise SubmissionError(path, [*problems.lines(), f'cannot be unpacked ({text}); {PACK_RESULTS}']) from error
