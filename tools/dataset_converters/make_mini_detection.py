#!/usr/bin/env python3
"""Make the mini detection set: drawn pictures with COCO and VOC annotations, in seconds.

Five classes of textured shapes (disc, square, triangle, star, ring) lie over textured, cluttered
backgrounds, see mini_scenes.py. It is a stand-in for a real set where none can be had: large
enough to train a small detector from scratch, too small to measure a method with.

Conventions
- An object's area, box and segmentation are those of its *visible* part, as annotators of COCO
  see it. At least 60 % of every object is visible; what would hide more is drawn anew.
- COCO: `bbox` is x, y, w, h in pixels with fractions, (0, 0) the outer corner of the first pixel;
  category ids have gaps (1, 3, 4, 7, 9), as those of COCO do. A hole (of a ring) is joined to
  its outline by a slit, because COCO's polygons have no holes.
- VOC: integer corners, counted from 1, both inside the box. `truncated` follows VOC's own rule:
  the box covers less than 85 % of the box of the whole object. `difficult` is always 0.
- VOC `trainval` is COCO's train split (divided 4 : 1 into `train` and `val`), VOC `test` is COCO's
  val split; an image has the same number in both formats.
- A picture depends on (seed, split, index) alone: neither on the number of pictures nor on the
  order in which they are drawn.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np

HERE = str(Path(__file__).resolve().parent)
if HERE not in sys.path:  # tools/ is no package, and a test may load this file by its path
    sys.path.append(HERE)
from mini_scenes import CLASSES, SUB, Shape, draw_scene  # noqa: E402

CATEGORY_IDS = (1, 3, 4, 7, 9)
SUPERCATEGORIES = ('round', 'angular', 'angular', 'angular', 'round')
ZOOM = 3  # contours are traced at ZOOM times the resolution of the masks
STAMP = 'dataset.json'
PARTIAL = '.mini_detection.partial'
MARK = '.mini_detection'  # lies in what this tool made: nothing else is ever deleted


# ---------------------------------------------------------------------------------------------
# Annotations
# ---------------------------------------------------------------------------------------------
def _polygons(mask: np.ndarray) -> list[list[float]]:
    """COCO polygons (x, y, x, y, ... in pixels) around the pieces of a sub-pixel mask."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    crop = mask[ys[0]:ys[-1] + 1, xs[0]:xs[-1] + 1].view(np.uint8)
    # A contour runs through the centres of the border's pixels: larger ones lose less.
    crop = crop.repeat(ZOOM, 0).repeat(ZOOM, 1)
    contours, tree = cv2.findContours(crop, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    simple = [cv2.approxPolyDP(c, ZOOM * SUB * .3, True)[:, 0].astype(float) for c in contours]
    parents = tree[0, :, 3]
    pieces = {i: simple[i] for i in np.flatnonzero(parents < 0)}
    for i in np.flatnonzero(parents >= 0):
        if len(simple[i]) > 2 and cv2.contourArea(contours[i]) >= (ZOOM * SUB)**2:
            pieces[parents[i]] = _with_slit(pieces[parents[i]], simple[i])
    offset = np.array([xs[0], ys[0]]) / SUB
    return [((piece + .5) / (ZOOM * SUB) + offset).round(2).ravel().tolist()
            for piece in pieces.values() if len(piece) > 2]


def _with_slit(outer: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """One closed line around both: along `outer`, over the shortest slit to `hole`, and back."""
    gap = np.linalg.norm(outer[:, None] - hole[None], axis=2)
    i, j = np.unravel_index(gap.argmin(), gap.shape)
    hole = np.roll(hole, -j, axis=0)
    return np.concatenate([outer[:i + 1], hole, hole[:1], outer[i:]])


def coco_annotation(shape: Shape) -> dict:
    """The COCO annotation of an object, without its `id` and `image_id`."""
    x1, y1, x2, y2 = shape.box()
    return dict(category_id=CATEGORY_IDS[shape.label],
                bbox=[round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)],
                area=round(shape.area, 2), iscrowd=0, segmentation=_polygons(shape.visible))


def voc_xml(filename: str, size: tuple[int, int], shapes: Sequence[Shape]) -> str:
    """The text of an image's VOC annotation file."""
    root = ElementTree.Element('annotation')

    def put(parent: ElementTree.Element, **values) -> None:
        for key, value in values.items():
            ElementTree.SubElement(parent, key).text = str(value)

    put(root, folder='VOC2007', filename=filename)
    put(ElementTree.SubElement(root, 'source'), database='mini detection', image='drawn')
    put(ElementTree.SubElement(root, 'size'), width=size[0], height=size[1], depth=3)
    put(root, segmented=0)
    for shape in shapes:
        item = ElementTree.SubElement(root, 'object')
        box, full = shape.box(), shape.full_box
        share = (box[2] - box[0]) * (box[3] - box[1]) / ((full[2] - full[0]) * (full[3] - full[1]))
        put(item, name=CLASSES[shape.label], pose='Unspecified', truncated=int(share < .85),
            difficult=0)
        x1, y1, x2, y2 = (int(value + .5) for value in box)
        put(ElementTree.SubElement(item, 'bndbox'), xmin=x1 + 1, ymin=y1 + 1, xmax=x2, ymax=y2)
    ElementTree.indent(root, '\t')
    return ElementTree.tostring(root, encoding='unicode') + '\n'


# ---------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------
def _write_split(root: Path, split: str, first_id: int, count: int, size: tuple[int, int],
                 seed: int, pool, bar) -> None:
    """Draw one split into `root`/coco and `root`/voc."""
    images, annotations = [], []
    pictures = root / 'coco' / f'{split}2017'
    voc = root / 'voc' / 'VOC2007'
    pictures.mkdir()

    def make(index: int) -> tuple[dict, list[dict]]:
        image_id = first_id + index
        image, shapes = draw_scene((seed, int(split == 'val'), index), size)
        path = pictures / f'{image_id:012d}.jpg'
        path.write_bytes(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
        twin = voc / 'JPEGImages' / f'{image_id:06d}.jpg'
        try:
            os.link(path, twin)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, twin)
        (voc / 'Annotations' / f'{twin.stem}.xml').write_text(voc_xml(twin.name, size, shapes))
        info = dict(id=image_id, file_name=path.name, width=size[0], height=size[1], license=1,
                    date_captured='2017-01-01 00:00:00')
        return info, [coco_annotation(shape) for shape in shapes]

    for info, found in pool.map(make, range(count)):
        images.append(info)
        for position, annotation in enumerate(found):
            number = info['id'] * 100 + position  # unique over both splits
            annotations.append(dict(id=number, image_id=info['id'], **annotation))
        bar.update()
    _write_coco(root / 'coco/annotations' / f'instances_{split}2017.json', images, annotations)


def _write_coco(path: Path, images: list[dict], annotations: list[dict]) -> None:
    content = dict(
        info=dict(description='mmdownstream mini detection set', version='1.0', year=2017,
                  contributor='drawn by make_mini_detection.py', date_created='2017/01/01', url=''),
        licenses=[dict(id=1, name='CC0 1.0',
                       url='https://creativecommons.org/publicdomain/zero/1.0/')],
        images=images,
        annotations=annotations,
        categories=[dict(id=i, name=name, supercategory=above) for i, name, above in zip(
            CATEGORY_IDS, CLASSES, SUPERCATEGORIES, strict=True)])
    path.write_text(json.dumps(content, separators=(',', ':')))


def _write_voc_lists(folder: Path, train: int, val: int) -> None:
    ids = [f'{number:06d}\n' for number in range(1, train + val + 1)]
    cut = max(1, train * 4 // 5)
    lists = dict(trainval=ids[:train], train=ids[:cut], val=ids[cut:train], test=ids[train:])
    for name, lines in lists.items():
        (folder / f'{name}.txt').write_text(''.join(lines))


def _check(train: int, val: int, size: tuple[int, int], seed: int, workers: int) -> None:
    if train < 1 or val < 1 or train + val > 999999:
        raise ValueError(f'train={train}, val={val}: expected at least 1 picture in each split and '
                         'at most 999999 together (VOC names have six digits)')
    if len(size) != 2 or min(size) < 48:
        raise ValueError(f'size={tuple(size)}: expected width and height, 48 pixels or more each')
    if seed < 0 or workers < 1:
        raise ValueError(f'seed={seed}, workers={workers}: expected seed >= 0 and workers >= 1')


def _source_digest() -> str:
    """Of the code that draws, so that a set made by other code is made again."""
    files = (Path(HERE) / 'mini_scenes.py', Path(HERE) / 'make_mini_detection.py')
    return hashlib.sha256(b''.join(file.read_bytes() for file in files)).hexdigest()[:16]


def _is_finished(out: Path, arguments: dict) -> bool:
    try:
        found = json.loads((out / STAMP).read_text())
    except (FileNotFoundError, ValueError):
        return False
    return found == arguments and all((out / name / MARK).is_file() for name in ('coco', 'voc'))


def _refuse_foreign(out: Path) -> None:
    for folder in (out / 'coco', out / 'voc'):
        if folder.exists() and not (folder / MARK).is_file():
            raise FileExistsError(f'{folder} exists and was not made by this tool, so it is left '
                                  'alone: choose another folder with --out')


def generate(out: str | Path = 'data/mini', *, train: int = 400, val: int = 80,
             size: Sequence[int] = (192, 160), seed: int = 0, workers: int = 2,
             force: bool = False, progress: bool = True) -> Path:
    """Make the set under `out`, unless it lies there already with the same arguments.

    It is drawn in a folder beside and moved into place when it is complete, so a run that was
    killed leaves nothing that could be taken for a set. Run one at a time for one `out`.

    Args:
        out: Folder that will hold `coco/`, `voc/` and `dataset.json`; other things in it are kept.
        train, val: Number of pictures in each split.
        size: Width and height in pixels, at least 48.
        seed: Another seed gives other pictures. Same arguments, same bytes (on one machine).
        workers: Threads that draw; without influence on the pictures.
        force: Make it again although it is there.
        progress: Show a progress bar on stderr.

    Returns:
        `out` as an absolute path.

    Raises:
        ValueError: A number is out of range.
        FileExistsError: `out`/coco or `out`/voc is not of this tool's making.
    """
    from tqdm import tqdm

    out, size = Path(out).resolve(), tuple(int(side) for side in size)
    _check(train, val, size, seed, workers)
    arguments = dict(source=_source_digest(), train=train, val=val, size=list(size), seed=seed)
    if _is_finished(out, arguments) and not force:
        return out
    _refuse_foreign(out)
    partial = out / PARTIAL
    if partial.exists():
        shutil.rmtree(partial)
    lists = partial / 'voc/VOC2007/ImageSets/Main'
    for folder in (partial / 'coco/annotations', lists, partial / 'voc/VOC2007/Annotations',
                   partial / 'voc/VOC2007/JPEGImages'):
        folder.mkdir(parents=True)
    bar = tqdm(total=train + val, desc='mini detection set', unit='img', mininterval=.5,
               disable=not progress)
    with bar, ThreadPoolExecutor(workers) as pool:
        try:
            _write_split(partial, 'train', 1, train, size, seed, pool, bar)
            _write_split(partial, 'val', train + 1, val, size, seed, pool, bar)
        finally:
            pool.shutdown(cancel_futures=True)  # or Ctrl-C would wait for all that is queued
    _write_voc_lists(lists, train, val)
    _move_into_place(partial, out, arguments)
    return out


def _move_into_place(partial: Path, out: Path, arguments: dict) -> None:
    """Replace an earlier set by the one in `partial`; the stamp goes first and comes last."""
    (out / STAMP).unlink(missing_ok=True)
    for name in ('coco', 'voc'):
        (partial / name / MARK).write_text('made by make_mini_detection.py; deleted by it, too\n')
        if (out / name).exists():
            os.replace(out / name, partial / f'old_{name}')
        os.replace(partial / name, out / name)
    (partial / STAMP).write_text(json.dumps(arguments) + '\n')
    os.replace(partial / STAMP, out / STAMP)
    shutil.rmtree(partial)


# ---------------------------------------------------------------------------------------------
# Command line
# ---------------------------------------------------------------------------------------------
def write_preview(root: str | Path, path: str | Path, zoom: int = 2) -> Path:
    """Write a sheet of twelve training pictures of the set in `root`, boxes and names drawn in."""
    coco = json.loads((Path(root) / 'coco/annotations/instances_train2017.json').read_text())
    names = {category['id']: category['name'] for category in coco['categories']}
    tiles = []
    for info in coco['images'][:12]:
        tile = cv2.imread(str(Path(root) / 'coco/train2017' / info['file_name']))
        tile = cv2.resize(tile, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
        for item in (a for a in coco['annotations'] if a['image_id'] == info['id']):
            x, y, w, h = (int(round(value * zoom)) for value in item['bbox'])
            cv2.rectangle(tile, (x, y), (x + w, y + h), (255, 255, 255), 1)
            for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
                cv2.putText(tile, names[item['category_id']], (x + 2, max(y - 3, 11)),
                            cv2.FONT_HERSHEY_SIMPLEX, .42, colour, thickness, cv2.LINE_AA)
        tiles.append(tile)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 4)
    sheet = np.vstack([np.hstack(tiles[i:i + 4]) for i in range(0, len(tiles), 4)])
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode('.png', sheet)[1].tobytes()
    part = path.with_name(path.name + '.part')
    part.write_bytes(encoded)
    os.replace(part, path)
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description='Make the mini detection set: drawn pictures of five classes of shapes, as '
        'COCO JSON and as VOC XML. A set that is there with the same arguments is kept.',
        epilog='example: %(prog)s --out /tmp/mini --train 40 --val 10 --preview /tmp/mini.png',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--out', default='data/mini', help='folder for coco/ and voc/')
    parser.add_argument('--train', type=int, default=400, help='training pictures')
    parser.add_argument('--val', type=int, default=80, help='validation pictures')
    parser.add_argument('--size', type=int, nargs=2, default=(192, 160), metavar=('W', 'H'),
                        help='width and height of the pictures, pixels')
    parser.add_argument('--seed', type=int, default=0, help='another seed, other pictures')
    parser.add_argument('--workers', type=int, default=2,
                        help='threads; they do not change the pictures')
    parser.add_argument('--force', action='store_true', help='make it again although it is there')
    parser.add_argument('--preview', metavar='PNG',
                        help='also write a sheet of 12 pictures with boxes and class names')
    args = parser.parse_args(argv)
    try:
        root = generate(args.out, train=args.train, val=args.val, size=args.size, seed=args.seed,
                        workers=args.workers, force=args.force)
    except (ValueError, FileExistsError) as error:
        print(f'{parser.prog}: {error}', file=sys.stderr)
        return 2
    print(f'{args.train} training and {args.val} validation pictures lie in {root}')
    print(f'  COCO  {root}/coco/annotations/instances_{{train,val}}2017.json')
    print(f'  VOC   {root}/voc/VOC2007/ImageSets/Main/{{trainval,test}}.txt')
    if args.preview:
        print(f'  sheet {write_preview(root, args.preview)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
