"""Files that are either complete or not there.

A file is written under a temporary name in its own folder, flushed to the disk and renamed over its
final name, which POSIX and Windows do in one step. A process that is killed at any moment leaves
the former file, the new file, or the former file beside a temporary one; `remove_leftovers` clears
the last kind when the next run starts.
"""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mmengine.fileio import LocalBackend, register_backend

_TEMPORARY = re.compile(r'^\.(?P<name>.+)\.tmp-(?P<host>[^-].*)-(?P<pid>\d+)$')
_STALE_SECONDS = 600


def _temporary_path(path: Path) -> Path:
    return path.with_name(f'.{path.name}.tmp-{socket.gethostname()}-{os.getpid()}')


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where the system can open folders."""
    if os.name != 'posix':
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """Open a temporary binary file that becomes `path` when the block ends without an error.

    Parent folders are made. On an error `path` keeps its former content and the temporary file is
    removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_path(path)
    try:
        with open(temporary, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_atomic(path: str | Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path` in one step."""
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def _is_abandoned(path: Path, host: str, pid: int) -> bool:
    """Whether the writer of a temporary file is gone: its process ended, or it is long silent."""
    if host == socket.gethostname():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return pid == os.getpid()
    return time.time() - path.stat().st_mtime > _STALE_SECONDS


def remove_leftovers(folder: str | Path) -> list[str]:
    """Delete what killed writers left in `folder`; return the names of the files they aimed at.

    Files of processes that still run on this machine, and recent ones of other machines, stay.
    """
    removed = []
    for path in sorted(Path(folder).glob('.*.tmp-*')):
        match = _TEMPORARY.match(path.name)
        if match and _is_abandoned(path, match['host'], int(match['pid'])):
            path.unlink(missing_ok=True)
            removed.append(match['name'])
    return removed


class AtomicLocalBackend(LocalBackend):
    """mmengine's storage backend for local paths, with atomic writing and deferred removal.

    `remove` and `rmtree` only note the path. `remove_pending` deletes what was noted; its caller
    does that once the file that replaces the old one is complete. mmengine's checkpoint hook
    removes first and writes second, which loses the only checkpoint if the run dies in between.
    """

    def __init__(self) -> None:
        self.pending: list[str] = []

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes to a file in one step."""
        write_atomic(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text to a file in one step."""
        write_atomic(filepath, obj.encode(encoding))

    def remove(self, filepath: str | Path) -> None:
        """Note a file for removal."""
        self.pending.append(str(filepath))

    def rmtree(self, dir_path: str | Path) -> None:
        """Note a folder for removal."""
        self.pending.append(str(dir_path))

    def remove_pending(self, keep: set[str]) -> None:
        """Delete the noted paths, except those in `keep`: written anew since, or still named."""
        pending, self.pending = self.pending, []
        for path in pending:
            if path in keep:
                continue
            if self.isfile(path):
                super().remove(path)
            elif self.isdir(path):
                super().rmtree(path)


register_backend('atomic_local', AtomicLocalBackend)
