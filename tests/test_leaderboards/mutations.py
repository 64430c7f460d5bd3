"""Seeded mutations of archives, whose verdict is known by construction.

A mutation is a legal change ('accept'), one that breaks a rule of the server ('refuse'), or damage to bytes that may
leave a legal archive ('any').
"""
import gzip
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from archive_cases import Case, Entry, pack_tar, pack_zip


@dataclass(frozen=True)
class Mutation:
    """An archive's bytes and name, what was done, and the verdict: 'accept', 'refuse' or 'any'."""

    label: str
    verdict: str
    data: bytes
    name: str


def _random_name(rng, entry):
    return ''.join(rng.choices('abcdefgh', k=8)) + entry.name[entry.name.rfind('.'):]


def _shortened(rng, entry):
    """The content without its end, so that it is wrong for certain."""
    data = entry.data
    if entry.name.endswith(('.png', '.json')):
        return data[:rng.randrange(1, len(data) * 6 // 10)]
    lines = data.splitlines(True)
    kept = b''.join(lines[:rng.randrange(len(lines))])
    if b' ' in lines[0]:  # a list: the last line loses words
        return kept + lines[len(kept.splitlines())].split(b' ')[0]
    return kept


def _swap(entries, index, **changes):
    return [replace(entry, **changes) if i == index else entry for i, entry in enumerate(entries)]


def _structural(case: Case, rng: random.Random) -> dict[str, Callable[[], list[Entry]]]:
    entries, index = case.entries, rng.randrange(len(case.entries))
    chosen = entries[index]
    stem = chosen.name.rpartition('/')[2]
    extra = rng.choice(('../x.txt', f'../{stem}', f'/{stem}', f'a/../../{stem}', f'C:/{stem}', f'a\\{stem}'))
    changes = {
        'drop': lambda: entries[:index] + entries[index + 1:],
        'rename': lambda: _swap(entries, index, name=_random_name(rng, chosen)),
        'duplicate': lambda: [*entries, chosen],
        'duplicate with other content': lambda: [*entries, replace(chosen, data=chosen.data[:-1])],
        'shorten': lambda: _swap(entries, index, data=_shortened(rng, chosen)),
        'junk content': lambda: _swap(entries, index, data=rng.randbytes(rng.randrange(1, 300))),
        'leads outside': lambda: _swap(entries, index, name=extra),
        'another that leads outside': lambda: [*entries, replace(chosen, name=extra)],
        'symlink': lambda: _swap(entries, index, link='symlink', data=b'/etc/passwd'),
        'another file': lambda: [*entries, Entry(rng.choice(('notes.txt', 'a/b.md', '0', 'x' * 4000)), b'x')],
        'system file': lambda: [*entries, Entry(rng.choice(('__MACOSX/._a', '.DS_Store', 'a/Thumbs.db')), b'')],
        'no UTF-8': lambda: _swap(entries, index, name=chosen.name.replace(stem, f'\udcff\udc80{stem}')),
        'other script': lambda: _swap(entries, index, name=chosen.name.replace(stem, f'é{stem}')),
        'all gone': lambda: [],
    }
    if case.track != 'cityscapes-seg':  # whose files may lie anywhere
        changes['in a folder'] = lambda: [replace(entry, name=f'sub/{entry.name}') for entry in entries]
    if case.track != 'voc-det':  # whose files may be empty
        changes['no content'] = lambda: _swap(entries, index, data=b'')
    if case.kind == 'tar':
        changes['hard link'] = lambda: _swap(entries, index, link='hardlink', data=entries[0].name.encode())
    else:
        changes['password'] = lambda: _swap(entries, index, flags=rng.choice((1, 0x41, 0x2001)))
        changes['other method'] = lambda: _swap(entries, index, method=rng.choice((1, 6, 9, 12, 14, 93, 99)))
        changes['wrong size'] = lambda: _swap(entries, index, size=rng.choice((
            0, len(chosen.data) - 1, len(chosen.data) + 1, 1 << 20, 0xfffffff0)))
        changes['NUL in name'] = lambda: _swap(entries, index, name=f'{chosen.name}\0.txt')
    return changes


def _damaged(case: Case, rng: random.Random, whole: bytes, plain: Callable[[], bytes]) -> list[tuple[str, str, bytes]]:
    """(label, verdict, bytes) of an archive whose bytes were touched."""
    flipped = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        flipped[rng.randrange(len(flipped))] = rng.randrange(256)
    cut = rng.randrange(len(whole))
    changes = [('flip', 'any', bytes(flipped)), ('cut', 'refuse', whole[:cut]),
               ('insert', 'any', whole[:cut] + rng.randbytes(rng.randrange(1, 40)) + whole[cut:]),
               ('more at the end', 'any', whole + rng.randbytes(rng.randrange(1, 40))),
               ('random bytes', 'refuse', rng.randbytes(rng.randrange(200)))]
    if case.kind == 'tar':  # below gzip's checksum, where damage would stop
        inside = bytearray(plain())
        for _ in range(rng.choice((1, 2, 5))):
            inside[rng.randrange(len(inside))] = rng.randrange(256)
        changes.append(('flip below gzip', 'any', gzip.compress(bytes(inside), 1)))
        sizes = (b'\xff' * 12, b'\x80' + b'\xff' * 11, b'77777777777\0', b'-0000000100\0', b'x' * 12)
        changes.append(('size in a header', 'refuse', _with_header(plain(), {124: rng.choice(sizes)})))
        kinds = (b'L', b'K', b'x', b'g', b'S', b'V', b'M', b'1', b'2', b'3', b'4', b'5', b'6')
        changes.append(('type in a header', 'refuse', _with_header(plain(), {156: rng.choice(kinds)})))
        both = {124: rng.choice(sizes), 156: rng.choice(kinds)}
        changes.append(('size and type in a header', 'refuse', _with_header(plain(), both)))
    return changes


def _with_header(data: bytes, fields: dict[int, bytes]) -> bytes:
    """A gzip'd tar whose first header has other fields, by offset, and the right checksum for them."""
    header = bytearray(data[:512])
    for place, value in {**fields, 148: b' ' * 8}.items():
        header[place:place + len(value)] = value
    header[148:156] = b'%06o\0 ' % sum(header)
    return gzip.compress(bytes(header) + data[512:], 1)


def mutations(case: Case, seed: int, count: int) -> Iterator[Mutation]:
    """``count`` mutations of a case, all kinds in turn."""
    pack = pack_zip if case.kind == 'zip' else pack_tar
    other = pack_tar if case.kind == 'zip' else pack_zip
    whole = pack(case.entries)
    plain = gzip.decompress(whole) if case.kind == 'tar' else b''
    for turn in range(count):
        rng = random.Random(f'{case.track} {seed} {turn}')
        made = [(f'content {n}', 'refuse', lambda fault=fault, rng=rng: pack(fault(rng, case.entries)))
                for n, fault in enumerate(case.faults)]
        made += [(label, 'refuse', lambda change=change: pack(change()))
                 for label, change in _structural(case, rng).items()]
        made += [(label, verdict, lambda data=data: data)
                 for label, verdict, data in _damaged(case, rng, whole, lambda: plain)]
        shuffled = rng.sample(case.entries, len(case.entries))
        made += [('order', 'accept', lambda shuffled=shuffled: pack(shuffled)),
                 ('level', 'accept', lambda rng=rng: pack(case.entries, rng.randrange(10))),
                 ('other archive', 'refuse', lambda: other(case.entries))]
        label, verdict, make = made[turn % len(made)]
        yield Mutation(label, verdict, make(), case.name)
