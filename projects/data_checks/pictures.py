"""A sheet of the worst samples: each with its broken boxes in red and its problems in words below."""

import os
import textwrap
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from projects.runtime.atomic import atomic_file

from .findings import Problem, Sample

TILE, TEXT = 320, 92
COLUMNS = 3


def _canvas(sample: Sample) -> Image.Image:
    """The sample's image as far as it can be decoded, else a grey tile that says so."""
    path = next((sample.info[key] for key in ('img_path', 'gt_path') if sample.info.get(key)), '')
    part = cv2.imread(path) if os.path.isfile(path) else None  # of a truncated file, the part that is there
    if part is not None:
        return Image.fromarray(np.ascontiguousarray(part[..., ::-1]))
    image = Image.new('RGB', (TILE, TILE * 3 // 4), (225, 225, 225))
    ImageDraw.Draw(image).text((12, 12), 'no picture of it', fill=(90, 90, 90))
    return image


def _tile(sample: Sample, problems: list[Problem]) -> Image.Image:
    image = _canvas(sample)
    factor = TILE / max(image.size)
    image = image.resize([max(1, round(side * factor)) for side in image.size])
    pen = ImageDraw.Draw(image)
    for colour, boxes in (((40, 160, 60), [box[1:] for box in sample.boxes]),
                          ((220, 30, 30), [problem.box for problem in problems if problem.box])):
        for x1, y1, x2, y2 in boxes:
            corners = [float(np.clip(value * factor, 0, TILE - 1)) for value in (x1, y1, x2, y2)]
            x1, x2, y1, y2 = *sorted(corners[::2]), *sorted(corners[1::2])
            pen.rectangle((x1, y1, max(x2, x1 + 2), max(y2, y1 + 2)), outline=colour, width=2)
    tile = Image.new('RGB', (TILE + 10, TILE + TEXT), 'white')
    tile.paste(image, (5, 5))
    lines = [f'{Path(sample.name).name}: {len(problems)}']
    for problem in problems:
        lines += textwrap.wrap(f'{problem.kind}: {problem.detail}', 62)
    ImageDraw.Draw(tile).multiline_text((6, min(image.height, TILE) + 8), '\n'.join(lines[:6]), fill=(20, 20, 20),
                                        font=ImageFont.load_default(10), spacing=2)
    return tile


def draw_worst(worst: list[tuple[Sample, list[Problem]]], out: Path) -> None:
    """Write the sheet, a PNG; usable boxes are green, broken ones red."""
    tiles = [_tile(sample, problems) for sample, problems in worst]
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = Image.new('RGB', (columns * tiles[0].width, rows * tiles[0].height), 'white')
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % columns * tile.width, index // columns * tile.height))
    with atomic_file(out) as file:
        sheet.save(file, 'PNG')
