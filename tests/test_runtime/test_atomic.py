"""Files are complete or not there, whatever happens to the writer."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from projects.runtime.atomic import (
    AtomicLocalBackend,
    atomic_file,
    remove_leftovers,
    write_atomic,
)

WRITER = textwrap.dedent('''
    import sys, time
    from projects.runtime.atomic import atomic_file
    with atomic_file(sys.argv[1]) as file:
        file.write(b'x' * 100_000)
        file.flush()
        print('half', flush=True)
        time.sleep(60)
''')


def killed_writer(path):
    """A process that is killed with -9 in the middle of writing `path`."""
    writer = subprocess.Popen([sys.executable, '-c', WRITER, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b'half\n'
    return writer


def test_failed_write_keeps_the_former_content(tmp_path):
    path = tmp_path / 'file'
    write_atomic(path, 'former')
    with pytest.raises(RuntimeError), atomic_file(path) as file:
        file.write(b'la')
        raise RuntimeError
    assert path.read_text() == 'former'
    assert list(tmp_path.iterdir()) == [path]


def test_killed_write_keeps_the_former_content_and_its_leftover_is_removed(tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(filter(None, sys.path)))
    path = tmp_path / 'file'
    write_atomic(path, b'former')
    writer = killed_writer(path)
    assert remove_leftovers(tmp_path) == []  # its writer is alive
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    assert path.read_bytes() == b'former'
    assert len(list(tmp_path.iterdir())) == 2
    assert remove_leftovers(tmp_path) == ['file']
    assert list(tmp_path.iterdir()) == [path]


def test_other_hidden_files_are_no_leftovers(tmp_path):
    (tmp_path / '.notes.tmp-').write_text('mine')
    (tmp_path / '.gitignore').write_text('*')
    assert remove_leftovers(tmp_path) == []


def test_removal_is_put_off_and_spares_what_is_kept(tmp_path):
    backend = AtomicLocalBackend()
    for name in 'ab':
        backend.put(b'1', tmp_path / name)
        backend.remove(tmp_path / name)
    assert (tmp_path / 'a').exists()
    backend.remove_pending(keep={str(tmp_path / 'b')})
    assert not (tmp_path / 'a').exists() and (tmp_path / 'b').exists()
    assert backend.pending == []
