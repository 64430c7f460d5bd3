"""The pictures of the mini detection set: textured shapes over textured, cluttered ground.

Used by make_mini_detection.py. Shapes are turned, stretched, drawn with longer sides of 32 to 110
pixels, overlap each other and leave the picture. Colour and texture are drawn without looking at
the class, so that only the outline tells what an object is; unlabelled strokes and ragged blobs,
as colourful as the objects, lie among them. Masks are drawn at SUB times the resolution of the
picture, which gives smooth edges and boxes with fractions of a pixel. A size is (width, height).
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

CLASSES = ('disc', 'square', 'triangle', 'star', 'ring')
SUB = 3
# How hard the set is, found by training on it: harder values would serve as well, but a small
# detector starting from random weights does not learn them in the minutes that the demo has.
MIN_VISIBLE = 0.6  # share of an object's full area
MIN_AREA = 30.  # visible pixels
MIN_SIDE, MAX_SIDE = 32, 110  # longer side of a whole object's box, pixels, log-uniform
MAX_OBJECTS = 5
MIN_CONTRAST = 90.  # RGB distance between an object's base colour and what it is drawn on
GROUND_SWING, SHAPE_SWING = 20., 20.  # how far a texture's two colours lie apart, RGB
MAX_GRAIN = 10.  # of a texture
MAX_NOISE = 4.  # standard deviation of the picture's noise, of 255
MAX_BLOBS, MAX_STROKES = 1, 1  # in one picture
MAX_TURN = .25  # largest rotation either way, radians


@dataclass
class Shape:
    """One object of a picture.

    `visible` is a bool mask of SUB * H x SUB * W; `full_area` and `full_box` (x1, y1, x2, y2) are
    those of the whole object in pixels, with what is hidden or outside the picture.
    """
    label: int
    visible: np.ndarray
    full_area: float
    full_box: tuple[float, float, float, float]

    @property
    def area(self) -> float:
        """Visible area in pixels."""
        return float(np.count_nonzero(self.visible)) / SUB**2

    @property
    def is_kept(self) -> bool:
        """Whether enough of it is visible for an annotator to name it."""
        return self.area >= max(MIN_VISIBLE * self.full_area, MIN_AREA)

    def box(self) -> tuple[float, float, float, float]:
        """Tight box x1, y1, x2, y2 of the visible part in pixels, (0, 0) the picture's corner."""
        xs, ys = np.flatnonzero(self.visible.any(0)), np.flatnonzero(self.visible.any(1))
        return tuple(float(v) / SUB for v in (xs[0], ys[0], xs[-1] + 1, ys[-1] + 1))

    def behind(self, mask: np.ndarray) -> Shape:
        """The shape after another one has been drawn over it."""
        if not (self.visible & mask).any():
            return self
        left = _without_crumbs(self.visible & ~mask)
        return Shape(self.label, left, self.full_area, self.full_box)


def draw_scene(key: Sequence[int], size: tuple[int, int]) -> tuple[np.ndarray, list[Shape]]:
    """Draw one picture.

    Args:
        key: Numbers that seed it; (seed, split, index) in the mini set.
        size: Width and height in pixels.

    Returns:
        uint8 BGR image of H x W x 3, and its 1 to MAX_OBJECTS objects from back to front.
    """
    rng = np.random.default_rng(list(key))
    canvas, shapes = _background(rng, size), []
    wanted, tries = int(rng.integers(1, MAX_OBJECTS + 1)), 0
    while len(shapes) < wanted and (tries < 40 or not shapes):
        tries += 1
        new = _random_shape(rng, size)
        scene = [*(shape.behind(new.visible) for shape in shapes), new]
        if all(shape.is_kept for shape in scene):
            _paint(rng, canvas, new.visible, SHAPE_SWING, MIN_CONTRAST)
            shapes = scene
    light = 1 + rng.uniform(0, .35) * (_noise(rng, size, max(size) / 2) - .5)
    grain = rng.standard_normal(canvas.shape, np.float32) * rng.uniform(1, MAX_NOISE)
    return np.clip(canvas * light[..., None] + grain, 0, 255).astype(np.uint8), shapes


# ---------------------------------------------------------------------------------------------
# Outlines and masks
# ---------------------------------------------------------------------------------------------
def _polar(radii: np.ndarray | float, angles: np.ndarray) -> np.ndarray:
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _outline(rng: np.random.Generator, label: int) -> list[np.ndarray]:
    """Contours (N x 2, around the origin, any size) of a class: the outer one, then holes."""
    circle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    name = CLASSES[label]
    if name == 'disc':
        return [_polar(1., circle)]
    if name == 'ring':
        return [_polar(1., circle), _polar(rng.uniform(.45, .65), circle)]
    if name == 'square':
        return [_polar(1., np.pi / 4 + np.pi / 2 * np.arange(4))]
    if name == 'triangle':
        return [_polar(1., np.pi * (2 / 3 * np.arange(3) - .5) + rng.uniform(-.2, .2, 3))]
    radii = np.where(np.arange(10) % 2, rng.uniform(.36, .44), 1.)
    return [_polar(radii, np.pi * (np.arange(10) / 5 - .5))]


def _ragged_outline(rng: np.random.Generator) -> list[np.ndarray]:
    """A lobed blob that is none of the classes (five even lobes would pass for a star)."""
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    lobes, phase = rng.choice((2, 3, 4), 2, replace=False), rng.uniform(0, 2 * np.pi, 2)
    radii = 1 + .35 * np.sin(lobes[0] * angles + phase[0]) + .25 * np.sin(
        lobes[1] * angles + phase[1])
    return [_polar(radii, angles)]


def _place(rng: np.random.Generator, contours: list[np.ndarray], size: tuple[int, int],
           side: float) -> list[np.ndarray]:
    """Stretch, turn and scale `contours` to a box whose longer side is `side`; set it in the image.

    Up to an eighth of the box may lie outside the image on each side.
    """
    ratio, angle = np.exp(rng.uniform(-.13, .13)), rng.uniform(-MAX_TURN, MAX_TURN)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    contours = [contour * (ratio, 1 / ratio) @ turn.T for contour in contours]
    low, high = contours[0].min(0), contours[0].max(0)
    scale = side / (high - low).max()
    extent = (high - low) * scale
    corner = rng.uniform(-extent / 8, np.array(size) - 7 / 8 * extent)
    return [(contour - low) * scale + corner for contour in contours]


def _fill(contours: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Bool mask of SUB * H x SUB * W; what lies inside two contours is a hole."""
    canvas = np.zeros((size[1] * SUB, size[0] * SUB), np.uint8)
    # OpenCV's whole coordinates are the centres of (sub-)pixels, ours their corners.
    cv2.fillPoly(canvas, [np.round(c * SUB - .5).astype(np.int32) for c in contours], 1)
    return canvas.view(bool)


def _polygon_area(points: np.ndarray) -> float:
    x, y = points.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def _random_shape(rng: np.random.Generator, size: tuple[int, int]) -> Shape:
    label = int(rng.integers(len(CLASSES)))
    largest = max(min(MAX_SIDE, .7 * min(size)), MIN_SIDE)
    side = float(np.exp(rng.uniform(np.log(MIN_SIDE), np.log(largest))))
    contours = _place(rng, _outline(rng, label), size, side)
    areas = [_polygon_area(contour) for contour in contours]
    box = (*contours[0].min(0).tolist(), *contours[0].max(0).tolist())
    return Shape(label, _fill(contours, size), areas[0] - sum(areas[1:]), box)


def _without_crumbs(mask: np.ndarray) -> np.ndarray:
    """Drop the pieces of an occluded object that no annotator would outline (below 6 pixels)."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8))
    keep = stats[:, cv2.CC_STAT_AREA] >= 6 * SUB**2
    keep[0] = False
    return keep[pieces]


# ---------------------------------------------------------------------------------------------
# Pixels
# ---------------------------------------------------------------------------------------------
def _noise(rng: np.random.Generator, size: tuple[int, int], cell: float) -> np.ndarray:
    """Band-limited noise in 0..1, H x W: a random grid with `cell` pixels a knot, interpolated."""
    grid = rng.random((int(size[1] / cell) + 3, int(size[0] / cell) + 3), dtype=np.float32)
    return np.clip(cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC), 0, 1)


def _pattern(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A field in 0..1, H x W: noise of two scales, a gradient, a checker or stripes."""
    kind = rng.choice(('noise', 'gradient', 'checker', 'stripes'))
    if kind == 'noise':
        coarse, fine = rng.uniform(12, 40), rng.uniform(3, 8)
        return .65 * _noise(rng, size, coarse) + .35 * _noise(rng, size, fine)
    angle = rng.uniform(0, 2 * np.pi)
    x, y = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32))
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    if kind == 'gradient':
        return (u - u.min()) / max(float(np.ptp(u)), 1.)
    pace = 2 * np.pi / rng.uniform(5, 16)
    wave = np.sin(pace * u) * (np.sin(pace * v) if kind == 'checker' else 1.)
    return .5 + .5 * np.tanh(rng.uniform(1.5, 5) * wave)


def _texture(rng: np.random.Generator, size: tuple[int, int], base: np.ndarray,
             swing: float) -> np.ndarray:
    """Float32 H x W x 3: a pattern between two colours that lie up to `swing` around `base`."""
    # Mostly light and dark of one hue.
    axis = np.float32(2 * swing) * (rng.uniform(-1, 1) + rng.uniform(-.3, .3, 3)).astype(np.float32)
    field = (_pattern(rng, size) - .5).astype(np.float32)[..., None]
    grain = (_noise(rng, size, rng.uniform(1.5, 3)) - .5)[..., None]
    grain *= np.float32(rng.uniform(.3, 1) * MAX_GRAIN)
    return base.astype(np.float32) + field * axis + grain


def _vivid(rng: np.random.Generator) -> np.ndarray:
    """A saturated BGR colour: one channel strong, one weak, one anywhere."""
    return rng.permutation((rng.uniform(150, 235), rng.uniform(20, 80), rng.uniform(20, 235)))


def _muted(rng: np.random.Generator) -> np.ndarray:
    """A greyish BGR colour."""
    return rng.uniform(60, 190) + rng.uniform(-25, 25, 3)


def _contrasting_colour(rng: np.random.Generator, under: np.ndarray,
                        contrast: float) -> np.ndarray:
    """A colour that far from `under`; the farthest of 20 where none is."""
    candidates = np.stack([_vivid(rng) for _ in range(20)])
    distances = np.linalg.norm(candidates - under, axis=1)
    far = distances >= contrast
    return candidates[np.argmax(far if far.any() else distances)]


def _paint(rng: np.random.Generator, canvas: np.ndarray, mask: np.ndarray, swing: float,
           contrast: float) -> None:
    """Lay a random texture over `canvas` (H x W x 3) where the sub-pixel `mask` covers it."""
    size = (canvas.shape[1], canvas.shape[0])
    # A bool mask as 0/255, so that the mean over a pixel's SUB x SUB sub-pixels stays 8 bits.
    alpha = cv2.resize(mask.view(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
    xs, ys = np.flatnonzero(alpha.any(0)), np.flatnonzero(alpha.any(1))
    if not len(xs):
        return
    window = np.s_[ys[0]:ys[-1] + 1, xs[0]:xs[-1] + 1]
    part, alpha = canvas[window], (alpha[window] / np.float32(255))[..., None]
    under = (part * alpha).sum((0, 1)) / alpha.sum()
    colour = _contrasting_colour(rng, under, contrast)
    part += (_texture(rng, (part.shape[1], part.shape[0]), colour, swing) - part) * alpha


def _background(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Float32 H x W x 3: a textured ground with what is not labelled, strokes and ragged blobs."""
    canvas = _texture(rng, size, _muted(rng), GROUND_SWING)
    for _ in range(rng.integers(0, MAX_BLOBS + 1)):
        blob = _place(rng, _ragged_outline(rng), size, rng.uniform(.08, .3) * min(size))
        _paint(rng, canvas, _fill(blob, size), SHAPE_SWING, contrast=0)
    t = np.linspace(0, 1, 24)[:, None]
    for _ in range(rng.integers(1, MAX_STROKES + 1)):
        knots = rng.uniform(-.1, 1.1, (3, 2)) * size
        curve = (1 - t)**2 * knots[0] + 2 * t * (1 - t) * knots[1] + t**2 * knots[2]
        cv2.polylines(canvas, [np.round(curve * 8).astype(np.int32)], False,
                      _vivid(rng).tolist(), int(rng.integers(1, 4)), cv2.LINE_AA, 3)
    return canvas
