"""A small legal archive of each track, packing that can lie, and changes to the content that break a rule."""
import gzip
import io
import json
import random
import stat
import struct
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from projects.leaderboards.cityscapes_seg import LABEL_IDS
from projects.leaderboards.voc_seg import colour_map

SIZE = (6, 4)  # width, height of label maps
VOC_IDS = ('2008_000001', '2008_000007')
VOC_MAIN = 'results/VOC2012/Main/comp4_det_test_{}.txt'
VOC_SEG = 'results/VOC2012/Segmentation/comp6_test_cls/{}.png'
CITY = ('berlin_000000_000019_leftImg8bit', 'munich_000397_000019_leftImg8bit')
SCENES = {'scene0707_00': 130, 'scene0708_00': 115}
README = ('runtime per image [s] : 10.43\nCPU[1] / GPU[0] : 1\nExtra Data [1] / No Extra Data [0] : 1\n'
          'Other description : EDSR\n')


@dataclass(frozen=True)
class Entry:
    """A file in an archive; what a field says wins over what is true."""

    name: str
    data: bytes
    link: str = ''  # 'symlink' or 'hardlink'
    flags: int = 0  # of a zip's entry
    method: int | None = None
    size: int | None = None


@dataclass
class Case:
    """A legal archive of a track, the options of its check, and changes to its content that break a rule."""

    track: str
    kind: str  # 'zip' or 'tar'
    name: str
    entries: list[Entry]
    options: dict
    faults: list[Callable] = field(default_factory=list)


# ---- packing

def pack_zip(entries: list[Entry], level: int = 1, comment: bytes = b'') -> bytes:
    """A zip, also one that contradicts itself."""
    body, directory = io.BytesIO(), b''
    for entry in entries:
        name = entry.name.encode('utf-8', 'surrogateescape')
        method = (8 if level else 0) if entry.method is None else entry.method
        data = entry.data
        if method == 8:
            packer = zlib.compressobj(level or 1, zlib.DEFLATED, -15)
            data = packer.compress(data) + packer.flush()
        flags = entry.flags | (0 if name.isascii() or '\udc80' <= max(entry.name) <= '\udcff' else 0x800)
        size = len(entry.data) if entry.size is None else entry.size
        shared = struct.pack('<5H3I2H', 20, flags, method, 0, 33, zlib.crc32(entry.data), len(data), size, len(name), 0)
        mode = (stat.S_IFLNK if entry.link else stat.S_IFREG) | 0o644
        directory += (b'PK\x01\x02' + struct.pack('<H', 3 << 8 | 20) + shared
                      + struct.pack('<3H2I', 0, 0, 0, mode << 16, body.tell()) + name)
        body.write(b'PK\x03\x04' + shared + name + data)
    end = struct.pack('<4s4H2IH', b'PK\x05\x06', 0, 0, len(entries), len(entries), len(directory), body.tell(),
                      len(comment))
    return body.getvalue() + directory + end + comment


def pack_tar(entries: list[Entry], level: int = 1) -> bytes:
    """A gzip'd tar."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w', format=tarfile.GNU_FORMAT) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            if entry.link:
                info.type = tarfile.SYMTYPE if entry.link == 'symlink' else tarfile.LNKTYPE
                info.linkname = entry.data.decode()
                archive.addfile(info)
                continue
            info.size = len(entry.data)
            archive.addfile(info, io.BytesIO(entry.data))
    return gzip.compress(stream.getvalue(), level, mtime=0)


# ---- content

def png(array: np.ndarray, palette: bytes | None = None) -> bytes:
    image, stream = Image.fromarray(array), io.BytesIO()
    if palette is not None:
        image.putpalette(palette)
    image.save(stream, 'PNG')
    return stream.getvalue()


def labels(seed: int, ids: np.ndarray) -> np.ndarray:
    return ids[np.random.default_rng(seed).integers(0, len(ids), SIZE[::-1])].astype(np.uint8)


def with_data(entries: list[Entry], index: int, data: bytes) -> list[Entry]:
    return [replace(entry, data=data) if i == index else entry for i, entry in enumerate(entries)]


def _pick(rng: random.Random, entries: list[Entry], part: str) -> int:
    """Index of an entry whose name has ``part`` in it."""
    return rng.choice([i for i, entry in enumerate(entries) if part in entry.name])


def _words(part: str, place: int, values: tuple[str, ...]) -> Callable:
    """A fault: in a random line of a file called so, the word at ``place`` becomes one of ``values``."""
    def change(rng, entries):
        index = _pick(rng, entries, part)
        lines = entries[index].data.decode().splitlines()
        row = rng.randrange(len(lines))
        words = lines[row].split(' ')
        words[place] = rng.choice(values)
        lines[row] = ' '.join(words)
        return with_data(entries, index, '\n'.join(lines).encode() + b'\n')
    return change


def _lines(part: str, make: Callable[[str], str]) -> Callable:
    """A fault: a random line of a file called so is made into another one."""
    def change(rng, entries):
        index = _pick(rng, entries, part)
        lines = entries[index].data.decode().splitlines()
        row = rng.randrange(len(lines))
        lines[row] = make(lines[row])
        return with_data(entries, index, '\n'.join(lines).encode() + b'\n')
    return change


def _images(*variants: bytes) -> Callable:
    """A fault: a random PNG is another one."""
    return lambda rng, entries: with_data(entries, _pick(rng, entries, '.png'), rng.choice(variants))


def _all(part: str, data: Callable[[str], bytes]) -> Callable:
    """A fault: all files called so have other content."""
    return lambda rng, entries: [replace(entry, data=data(entry.name)) if part in entry.name else entry
                                 for entry in entries]


def wide_png() -> bytes:
    """A 16-bit RGB file of 12 x 8 pixels."""
    def chunk(name, data):
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 12, 8, 16, 2, 0, 0, 0))
            + chunk(b'IDAT', zlib.compress(bytes((1 + 72) * 8))) + chunk(b'IEND', b''))


# ---- the tracks

def _coco(folder: Path) -> Case:
    path = folder / 'instances_val2017.json'
    path.write_text(json.dumps(dict(images=[dict(id=n, width=200, height=100) for n in (7, 9)],
                                    categories=[dict(id=n, name=str(n)) for n in (18, 1, 90)])))
    rng = random.Random(0)
    content = [dict(image_id=rng.choice((7, 9)), category_id=rng.choice((18, 1, 90)), score=round(rng.random(), 3),
                    bbox=[rng.randrange(90), rng.randrange(50), 1 + rng.randrange(90), 1.5 + rng.randrange(40)])
               for _ in range(8)]

    def value(key, *values):
        def change(rng, entries):
            rows = json.loads(entries[0].data)
            rows[rng.randrange(len(rows))][key] = rng.choice(values)
            return with_data(entries, 0, json.dumps(rows).encode())
        return change

    def text(make):
        return lambda rng, entries: with_data(entries, 0, make(rng, entries[0].data))

    def without_key(rng, data):
        rows = json.loads(data)
        del rows[rng.randrange(len(rows))][rng.choice(('image_id', 'category_id', 'bbox', 'score'))]
        return json.dumps(rows).encode()

    nan, inf = float('nan'), float('inf')
    return Case('coco-det', 'zip', 'detections_val2017_a_results.zip', [
        Entry('detections_val2017_a_results.json', json.dumps(content).encode())], dict(ann_file=path), [
        value('score', nan, inf, -inf, '0.5', None, True, [0.5]), value('image_id', 8, '7', 7.0, None, 2 ** 70, -7),
        value('category_id', 44, 2, 0, '18', 18.0), text(without_key),
        value('bbox', [1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 0, 4], [1, 2, 3, -4], [nan, 2, 3, 4], [1, 2, inf, 4], '1', []),
        text(lambda rng, data: rng.choice((
            b'[]', b'{}', b'', b'null', b'{"a":' + data + b'}', data + data, b'\xff' + data, b'[' * 5000,
            data[:-1] + b',]', data.replace(b'"score"', b'score', 1))))])


def _voc_det(folder: Path) -> Case:
    (folder / 'JPEGImages').mkdir()
    for name in VOC_IDS:
        Image.new('RGB', (200, 100)).save(folder / 'JPEGImages' / f'{name}.jpg')
    (folder / 'test.txt').write_text('\n'.join(VOC_IDS))
    rows = ''.join(f'{name} 0.{n}5 {n + 1}.50 2.00 {n + 20} 90.25\n' for n, name in enumerate(VOC_IDS * 2))
    return Case('voc-det', 'tar', 'comp4_det_test_a.tar.gz', [
        Entry(VOC_MAIN.format(name), rows.encode()) for name in ('cat', 'dog')],
        dict(classes=['cat', 'dog'], image_set=folder / 'test.txt', image_dir=folder / 'JPEGImages'), [
        _words('Main', 0, ('2008_000009', '2008_000001.jpg', '../x', 'a' * 3000, '')),
        _words('Main', 1, ('nan', '-inf', 'high', '', '1_0', '0x1', '１')),
        _words('Main', 2, ('0.5', '-3', '150', 'nan')),
        _words('Main', 3, ('0', '95', 'inf')), _words('Main', 4, ('1', '202', '1e9', 'x')),
        _words('Main', 5, ('1', '102.5', '1e400')),
        _lines('Main', lambda line: line + ' 1'), _lines('Main', lambda line: line.rsplit(' ', 1)[0]),
        _lines('Main', lambda line: line.replace(' ', '  ', 1)), _lines('Main', lambda line: line.replace(' ', '\t')),
        _lines('Main', lambda line: line + 'x' * 9000), _lines('Main', lambda line: '')])


def _voc_seg(folder: Path) -> Case:
    (folder / 'JPEGImages').mkdir()
    for name in VOC_IDS:
        Image.new('RGB', SIZE).save(folder / 'JPEGImages' / f'{name}.jpg')
    (folder / 'test.txt').write_text('\n'.join(VOC_IDS))
    ids, palette = np.arange(21), colour_map().tobytes()
    high = [png(np.full(SIZE[::-1], n, np.uint8), palette) for n in (21, 100, 254, 255)]
    other = [np.zeros((4, 7), np.uint8), np.zeros((8, 12), np.uint8)]
    return Case('voc-seg', 'tar', 'comp6_test_a.tar.gz', [
        Entry(VOC_SEG.format(name), png(labels(n, ids), palette)) for n, name in enumerate(VOC_IDS)],
        dict(image_set=folder / 'test.txt', image_dir=folder / 'JPEGImages'), [
        _images(*high), _images(*(png(array, palette) for array in other)), _images(png(labels(0, ids))),
        _images(png(np.zeros((4, 6, 3), np.uint8)), png(np.zeros((4, 6, 4), np.uint8))),
        _images(png(np.zeros((4, 6), np.uint16)), png(np.zeros((4, 6), bool)))])


def _cityscapes(folder: Path) -> Case:
    for name in CITY:
        Image.new('RGB', SIZE).save(folder / f'{name}.png')
    ids = np.array(LABEL_IDS)
    return Case('cityscapes-seg', 'zip', 'a.zip', [
        Entry(f'{name}.png', png(labels(n, ids))) for n, name in enumerate(CITY)], dict(image_dir=folder), [
        _images(png(np.full((4, 7), 7, np.uint8)), png(np.full((8, 12), 7, np.uint8))),
        _images(png(np.zeros((4, 6, 3), np.uint8)), png(np.zeros((4, 6, 4), np.uint8))),
        _images(png(np.zeros((4, 6), np.uint16)), png(np.zeros((4, 6), bool))),
        _all('.png', lambda name: png(labels(len(name), np.arange(19))))])


def _scans(folder: Path) -> dict:
    for name, count in SCENES.items():
        (folder / f'{name}_vh_clean_2.ply').write_text(
            f'ply\nformat ascii 1.0\nelement vertex {count}\nproperty float x\nend_header\n')
    (folder / 'list.txt').write_text('\n'.join(SCENES))
    return dict(mesh_dir=folder, scenes=folder / 'list.txt')


def _instances(folder: Path) -> Case:
    entries = []
    for name, count in SCENES.items():
        lines = [f'predicted_masks/{name}_{n:03d}.txt {(5, 39)[n]} 0.{n}5\n' for n in range(2)]
        entries.append(Entry(f'{name}.txt', ''.join(lines).encode()))
        mask = b'1\n' * 105 + b'0\n' * (count - 105)
        entries += [Entry(f'predicted_masks/{name}_{n:03d}.txt', mask) for n in range(2)]

    def twice(rng, entries):
        index = rng.choice([i for i, entry in enumerate(entries) if '/' not in entry.name])
        return with_data(entries, index, entries[index].data + entries[index].data.splitlines(True)[0])

    def lists(place, *values):
        def change(rng, entries):
            index = rng.choice([i for i, entry in enumerate(entries) if '/' not in entry.name])
            return _words(entries[index].name, place, values)(rng, entries)
        return change
    return Case('scannet-instance', 'zip', 'a.zip', entries, _scans(folder), [
        lists(0, 'predicted_masks/none.txt', '../x.txt', '/etc/passwd', 'x.txt', 'masks\\a.txt', 'C:/a.txt', ''),
        lists(1, '0', '1', '2', '13', '40', '5.0', 'chair', '-5', '５', '9' * 50, '5 5'), twice,
        lists(2, 'nan', 'inf', '-inf', 'high', '', '0.5 ', '0.5\t', '1_0', '٣'),
        _lines('masks/', lambda line: '1.0'), _lines('masks/', lambda line: '1 0'), _lines('masks/', lambda line: ''),
        _lines('masks/', lambda line: 'true'), _lines('masks/', lambda line: '1\n0'),
        _lines('masks/', lambda line: '9' * 300), _lines('masks/', lambda line: '\x00')])


def _semantic(folder: Path) -> Case:
    return Case('scannet-semantic', 'zip', 'a.zip', [
        Entry(f'{name}.txt', b''.join(b'%d\n' % (5, 39, 16)[n % 3] for n in range(count)))
        for name, count in SCENES.items()], _scans(folder), [
        _lines('scene', lambda line: '5.0'), _lines('scene', lambda line: '5 5'), _lines('scene', lambda line: ''),
        _lines('scene', lambda line: 'chair'), _lines('scene', lambda line: '5\n5'),
        _lines('scene', lambda line: '9' * 99),
        _all('scene', lambda name: b''.join(b'%d\n' % (n % 20) for n in range(SCENES[name.removesuffix('.txt')])))])


def _ntire(folder: Path) -> Case:
    names = ('0901x4.png', '0902x4.png')
    for name in names:
        Image.new('RGB', (3, 2)).save(folder / name)
    rng = np.random.default_rng(0)
    images = [png(rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)) for _ in names]

    def readme(*pairs):
        def change(rng, entries):
            old, new = rng.choice(pairs)
            return with_data(entries, _pick(rng, entries, 'readme'), README.replace(old, new).encode())
        return change
    return Case('ntire-sr', 'zip', 'a.zip', [
        *(Entry(name, data) for name, data in zip(names, images, strict=True)), Entry('readme.txt', README.encode())],
        dict(image_dir=folder, scale=4), [
        _images(png(np.zeros((8, 12), np.uint8)), png(np.zeros((8, 12), np.uint8), colour_map().tobytes()),
                png(np.zeros((8, 12, 4), np.uint8)), png(np.zeros((8, 12), np.uint16)), wide_png()),
        _images(png(np.zeros((8, 13, 3), np.uint8)), png(np.zeros((2, 3, 3), np.uint8))),
        readme(('10.43', '-1'), ('10.43', 'nan'), ('10.43', 'inf'), ('10.43', ''), ('10.43', '0')),
        readme(('GPU[0] : 1', 'GPU[0] : 2'), ('Data [0] : 1', 'Data [0] : yes'), ('[s] : ', '[s]: '), ('EDSR', '')),
        readme(('CPU[1]', 'CPU'), ('Other', 'other'), ('Other', 'x\nOther'), ('Extra Data [1]', 'Extra'), ('\n', ' '))])


_CASES = {'coco-det': _coco, 'voc-det': _voc_det, 'voc-seg': _voc_seg, 'cityscapes-seg': _cityscapes,
          'scannet-instance': _instances, 'scannet-semantic': _semantic, 'ntire-sr': _ntire}


def make_case(track: str, folder: Path) -> Case:
    """The legal archive of a track; its data set is written to ``folder``."""
    return _CASES[track](folder)
