"""Archives that nobody vouches for: each danger has its own message, and nothing is read as a whole."""
import gzip
import re
import tarfile
import tracemalloc
import zipfile
from dataclasses import replace

import pytest

from projects.leaderboards import SubmissionError, archive_members, validate

ENTRIES = {'zip': 'coco-det', 'tar': 'voc-det'}
PIECE = 1 << 20


@pytest.fixture
def check(tmp_path, cases):
    """Function: kind of archive, function on the legal entries -> the message that refuses them."""
    def run(kind, change, pack=None):
        (tmp_path / kind).mkdir()
        case = cases.make_case(ENTRIES[kind], tmp_path / kind)
        path = tmp_path / case.name
        path.write_bytes((pack or getattr(cases, f'pack_{kind}'))(change(case.entries)))
        with pytest.raises(SubmissionError) as caught:
            validate(case.track, path, **case.options)
        return str(caught.value)
    return run


@pytest.mark.parametrize('kind, changes, message', [
    ('both', dict(name='../x.json'), 'paths in the archive must stay inside of it.*../x.json'),
    ('both', dict(name='/etc/x.json'), 'must stay inside.*/etc/x.json'),
    ('both', dict(name='C:/x.json'), 'must stay inside'),
    ('both', dict(name='a\\x.json'), 'no backslashes'),
    ('both', dict(name='a\udcff.json'), r'names in the archive must be UTF-8'),
    ('both', dict(name='__MACOSX/._a'), 'system files .__MACOSX'),
    ('both', dict(link='symlink', data=b'/etc/passwd'), 'links.* must not be in the archive'),
    ('tar', dict(link='hardlink', data=b'a'), r'links must not be in the archive.*\(tar -h\)'),
    ('zip', dict(name='a\0.json'), r'must be UTF-8.*a\\x00.json'),
    ('zip', dict(flags=1), 'a file is encrypted; pack it without a password'),
    ('zip', dict(method=14), 'compressed by another method than deflate'),
    ('zip', dict(size=7), 'another size than the archive says.*7 bytes declared, more found'),
    ('zip', dict(size=10 ** 7), r'another size than the archive says.*10000000 bytes declared, \d+ found'),
])
def test_entries_that_no_server_takes(check, kind, changes, message):
    for one in ('zip', 'tar') if kind == 'both' else (kind,):
        text = check(one, lambda entries: [replace(entries[0], **changes), *entries[1:]])
        assert re.search(message, text.replace('\n', ' ')) and text.replace('\n', '').isprintable(), text


def test_doubled_members_and_damage(check):
    assert 'a file appears more than once in the archive' in check('zip', lambda entries: entries * 2)
    assert 'a file appears more than once in the archive' in check('tar', lambda entries: entries * 2)


def test_damage_is_told_from_a_wrong_kind(tmp_path, cases):
    case = cases.make_case('coco-det', tmp_path)
    path, data = tmp_path / case.name, bytearray(cases.pack_zip(case.entries))
    data[80] ^= 255
    for content, message in ((data, 'damaged; pack it again'), (data[:-9], 'not a zip file'),
                             (cases.pack_tar(case.entries), 'not a zip file')):
        path.write_bytes(content)
        with pytest.raises(SubmissionError, match=message):
            validate(case.track, path, **case.options)


def test_ten_offences_are_named_and_the_others_counted(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
        for number in range(25):
            archive.writestr(f'../{number}.txt', '')
    with pytest.raises(SubmissionError) as caught:
        validate('coco-det', tmp_path / 'a.zip')
    assert '[25 times: ../0.txt; ../1.txt; ' in str(caught.value)
    assert '../9.txt; and 15 more]' in str(caught.value) and '../10.txt' not in str(caught.value)


def test_bombs_are_refused_by_what_they_declare(check, monkeypatch):
    huge = check('zip', lambda entries: [replace(entries[0], name=f'{n}.json', size=0xffffffff) for n in range(17)])
    assert 'unpacks to more than 64 GiB' in huge
    monkeypatch.setattr(archive_members, 'LARGEST_UNPACKED', 1 << 20)
    assert 'unpacks to more than' in check('tar', lambda entries: [replace(entries[0], data=bytes(1 << 21))])


def test_headers_of_a_tar_are_not_read_as_a_whole(tmp_path):
    """A long name of 300 MB in 300 kB."""
    info = tarfile.TarInfo('././@LongLink')
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 300 * PIECE
    with gzip.open(tmp_path / 'a.tar.gz', 'wb', 1) as stream:
        stream.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(40):
            stream.write(bytes(PIECE))
    tracemalloc.start()
    with pytest.raises(SubmissionError, match='a header claims too much'):
        validate('voc-det', tmp_path / 'a.tar.gz')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * PIECE


@pytest.mark.parametrize('track', ['coco-det', 'scannet-instance', 'voc-det'])
def test_memory_does_not_grow_with_the_archive(tmp_path, cases, track):
    """100 MB of a JSON file that is accepted, 300 MB of a mask and of a text without lines that are not."""
    (tmp_path / 'data').mkdir()
    case = cases.make_case(track, tmp_path / 'data')
    path = tmp_path / case.name
    if track == 'voc-det':
        with gzip.open(path, 'wb', 1) as packed, tarfile.open(fileobj=packed, mode='w') as archive:
            info = tarfile.TarInfo(case.entries[0].name)
            info.size = 300 * PIECE
            archive.addfile(info, _Repeated(b'\0' * PIECE, 300))
    else:
        first = case.entries[0 if track == 'coco-det' else 1]
        filler = [b' ' * PIECE] * 100 if track == 'coco-det' else [b'1\n' * (PIECE // 2)] * 300
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            with archive.open(first.name, 'w') as stream:
                stream.write(first.data[:1])
                if track != 'coco-det':
                    stream.write(b'\n')
                stream.writelines(filler)
                stream.write(first.data[1:] if track == 'coco-det' else b'')
            for entry in case.entries:
                if entry is not first:
                    archive.writestr(entry.name, entry.data)
    tracemalloc.start()
    try:
        verdict = f'{validate(track, path, **case.options).entries} entries'
    except SubmissionError as error:
        verdict = str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert {'coco-det': '8 entries', 'scannet-instance': f'{150 * PIECE + 1} lines, expected 130',
            'voc-det': 'a line has more than 4096 bytes'}[track] in verdict
    assert peak < 16 * PIECE, f'{peak / PIECE:.1f} MiB'


class _Repeated:
    """A stream of one piece, some times over."""

    def __init__(self, piece, times):
        self.piece, self.left = piece, len(piece) * times

    def read(self, size):
        size = min(size, self.left, len(self.piece))
        self.left -= size
        return self.piece[:size]
