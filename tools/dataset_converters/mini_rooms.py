"""Drawing the rooms of the mini indoor set: furnished rooms as coloured surface points, with classes and objects.

Lengths are in metres, z is up. A surface is a grid of vertices with triangles; what is covered by another object is
taken away, as a scanner would not see it.

How hard the set is
- Furniture of one class varies in size, proportion and turn; its colour says something of its class, not all.
- Two or three pieces of a room touch: chairs pushed together, a shelf along a cabinet. Chairs stand at tables.
- Points are moved by noise along all axes, and some spots are missing.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

WALL, FLOOR = 'wall', 'floor'
NYU40 = dict(wall=1, floor=2, cabinet=3, bed=4, chair=5, sofa=6, table=7, door=8, bookshelf=10, picture=11, desk=14,
             toilet=33, box=29) | {'trash can': 39}
"""NYU40 id of each category that is drawn; box (29) is none of the benchmark's classes."""
_HUE = dict(wall=.11, floor=.08, cabinet=.07, bed=.6, chair=.02, sofa=.33, table=.09, door=.1, bookshelf=.06,
            picture=.75, desk=.05, toilet=.55, box=.12) | {'trash can': .65}
NOISE, HOLES = 0.004, 3
SPACING, STRUCTURE_SPACING = 0.05, 0.08
"""Distance of vertices on furniture, and on walls and floor."""
PATCH = 0.35
"""Side of a segment of the over-segmentation."""


@dataclass
class Surface:
    """A rectangle in space.

    Attributes:
        origin: One corner, (3,).
        u, v: The two sides, (3,) each.
    """

    origin: np.ndarray
    u: np.ndarray
    v: np.ndarray


@dataclass
class Piece:
    """An object of a room.

    Attributes:
        category: One of ``NYU40``.
        surfaces: Its surfaces, in the room's coordinates.
        solids: Boxes (low corner, high corner in the piece's frame) that hide what is inside of them.
        angle, place: Turn about z, and the position of the piece's origin, (3,).
    """

    category: str
    surfaces: list[Surface] = field(default_factory=list)
    solids: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    angle: float = 0.
    place: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def box(self, low: tuple, high: tuple, open_bottom: bool = True) -> None:
        """Add a box of six sides (five if its bottom is never seen)."""
        low, high = np.asarray(low, float), np.asarray(high, float)
        size = high - low
        axes = np.eye(3)
        for axis in range(3):
            one, two = (axes[other] * size[other] for other in range(3) if other != axis)
            if axis < 2 or not open_bottom:
                self.surfaces.append(Surface(low, one, two))
            self.surfaces.append(Surface(low + axes[axis] * size[axis], one, two))
        self.solids.append((low, high))

    def into_room(self, points: np.ndarray) -> np.ndarray:
        """Points of the piece's frame in the room's."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return points @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]) + self.place

    def hides(self, points: np.ndarray, margin: float) -> np.ndarray:
        """Which points of the room lie inside of it, (n,) bool."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        local = (points - self.place) @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        inside = np.zeros(len(points), dtype=bool)
        if not self.solids:
            return inside
        low, high = np.min([low for low, _ in self.solids], 0), np.max([high for _, high in self.solids], 0)
        below = margin * np.array([1, 1, 5])
        near = np.flatnonzero(((local > low - below) & (local < high + margin)).all(1))
        for low, high in self.solids:
            inside[near] |= ((local[near] > low - below) & (local[near] < high + margin)).all(1)
        return inside


def _legs(piece: Piece, width: float, depth: float, height: float, thick: float) -> None:
    for x in (0, width - thick):
        for y in (0, depth - thick):
            piece.box((x, y, 0), (x + thick, y + thick, height))


def chair(rng: np.random.Generator) -> tuple[Piece, np.ndarray]:
    """A seat, a back, four legs; with its footprint (width, depth)."""
    width, depth, seat = rng.uniform(.42, .52), rng.uniform(.42, .52), rng.uniform(.42, .48)
    piece = Piece('chair')
    _legs(piece, width, depth, seat - .05, .05)
    piece.box((0, 0, seat - .05), (width, depth, seat), open_bottom=False)
    piece.box((0, depth - .06, seat), (width, depth, seat + rng.uniform(.4, .5)))
    return piece, np.array([width, depth])


def table(rng: np.random.Generator) -> tuple[Piece, np.ndarray]:
    """A top and four legs."""
    width, depth, height = rng.uniform(.9, 1.4), rng.uniform(.65, .85), rng.uniform(.7, .76)
    piece = Piece('table')
    _legs(piece, width, depth, height - .05, .07)
    piece.box((0, 0, height - .05), (width, depth, height), open_bottom=False)
    return piece, np.array([width, depth])


def desk(rng: np.random.Generator) -> tuple[Piece, np.ndarray]:
    """A top on two side panels, and a panel behind."""
    width, depth, height = rng.uniform(1., 1.3), rng.uniform(.55, .65), rng.uniform(.72, .78)
    piece = Piece('desk')
    for x in (0, width - .04):
        piece.box((x, 0, 0), (x + .04, depth, height - .04))
    piece.box((0, depth - .04, .25), (width, depth, height - .04), open_bottom=False)
    piece.box((0, 0, height - .04), (width, depth, height), open_bottom=False)
    return piece, np.array([width, depth])


def sofa(rng: np.random.Generator) -> tuple[Piece, np.ndarray]:
    """A low seat between two arms, with a back."""
    width, depth = rng.uniform(1.3, 1.8), rng.uniform(.75, .9)
    piece = Piece('sofa')
    piece.box((0, 0, 0), (width, depth, .42))
    piece.box((0, depth - .2, .42), (width, depth, rng.uniform(.75, .85)))
    for x in (0, width - .16):
        piece.box((x, 0, .42), (x + .16, depth - .2, .58))
    return piece, np.array([width, depth])


def bed(rng: np.random.Generator) -> tuple[Piece, np.ndarray]:
    """A mattress with a board at its head."""
    width, depth, height = rng.uniform(.9, 1.4), rng.uniform(1.8, 2.), rng.uniform(.4, .5)
    piece = Piece('bed')
    piece.box((0, 0, 0), (width, depth - .05, height))
    piece.box((0, depth - .05, 0), (width, depth, height + rng.uniform(.3, .45)))
    return piece, np.array([width, depth])


def cabinet(rng: np.random.Generator) -> tuple[Piece, np.ndarray]:
    """A closed box."""
    width, depth, height = rng.uniform(.6, 1.), rng.uniform(.4, .5), rng.uniform(.7, 1.1)
    piece = Piece('cabinet')
    piece.box((0, 0, 0), (width, depth, height))
    return piece, np.array([width, depth])


def bookshelf(rng: np.random.Generator) -> tuple[Piece, np.ndarray]:
    """An open rack: two sides, a back, boards."""
    width, depth, height = rng.uniform(.7, 1.), rng.uniform(.26, .34), rng.uniform(1.2, 1.5)
    piece = Piece('bookshelf')
    for x in (0, width - .03):
        piece.box((x, 0, 0), (x + .03, depth, height))
    piece.surfaces.append(Surface(np.array([0, depth, 0.]), np.array([width, 0, 0]), np.array([0, 0, height])))
    for level in np.linspace(.08, height, 4):
        piece.box((0, 0, level - .03), (width, depth, level), open_bottom=False)
    return piece, np.array([width, depth])


def toilet(rng: np.random.Generator) -> tuple[Piece, np.ndarray]:
    """A bowl and its tank."""
    width, depth = rng.uniform(.36, .42), rng.uniform(.6, .68)
    piece = Piece('toilet')
    piece.box((.04, .05, 0), (width - .04, depth - .2, .4))
    piece.box((0, depth - .2, 0), (width, depth, rng.uniform(.75, .85)))
    return piece, np.array([width, depth])


def trash_can(rng: np.random.Generator) -> tuple[Piece, np.ndarray]:
    """A tube with eight sides, open above."""
    radius, height = rng.uniform(.14, .18), rng.uniform(.35, .45)
    piece = Piece('trash can')
    corners = np.array([[np.cos(angle), np.sin(angle), 0] for angle in np.linspace(0, 2 * np.pi, 9)]) * radius
    for first, second in zip(corners[:-1], corners[1:], strict=True):
        piece.surfaces.append(Surface(first + [radius, radius, 0], second - first, np.array([0, 0, height])))
    piece.solids.append((np.zeros(3), np.array([2 * radius, 2 * radius, height])))
    return piece, np.array([2 * radius, 2 * radius])


def box(rng: np.random.Generator) -> tuple[Piece, np.ndarray]:
    """A cardboard box, of a category that the benchmark leaves out."""
    width, depth, height = rng.uniform(.25, .4, 3)
    piece = Piece('box')
    piece.box((0, 0, 0), (width, depth, height))
    return piece, np.array([width, depth])


ON_FLOOR: tuple[Callable, ...] = (chair, table, sofa, bed, cabinet, bookshelf, desk, toilet, trash_can, box)
_AT_WALL = (sofa, bed, cabinet, bookshelf, desk, toilet)


@dataclass
class _Plan:
    """Footprints that are taken, in a room of a size."""

    size: np.ndarray
    taken: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def is_free(self, low: np.ndarray, high: np.ndarray) -> bool:
        if (low < -1e-6).any() or (high > self.size + 1e-6).any():
            return False
        return all((high <= other_low + 1e-6).any() or (low >= other_high - 1e-6).any()
                   for other_low, other_high in self.taken)

    def put(self, piece: Piece, foot: np.ndarray, low: np.ndarray, quarter: int) -> bool:
        """Stand a piece with the low corner of its footprint at `low`, after quarter turns; False if it is not free."""
        extent = foot if quarter % 2 == 0 else foot[::-1]
        if not self.is_free(low, low + extent):
            return False
        self.taken.append((low, low + extent))
        piece.angle = quarter * np.pi / 2
        shift = {0: (0, 0), 1: (extent[0], 0), 2: (extent[0], extent[1]), 3: (0, extent[1])}[quarter % 4]
        piece.place = np.array([low[0] + shift[0], low[1] + shift[1], 0.])
        return True


def _along_wall(plan: _Plan, foot: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """A place with the back (the high end of y) at one of the two walls that are drawn, and its turn."""
    quarter = int(rng.integers(2))
    extent = foot if quarter == 0 else foot[::-1]
    along = rng.uniform(0, np.maximum(plan.size - extent, .01))
    return (np.array([along[0], plan.size[1] - extent[1] - .02]) if quarter == 0
            else np.array([.02, along[1]])), quarter


def _furnish(plan: _Plan, rng: np.random.Generator, count: int) -> list[Piece]:
    """About `count` pieces of furniture, chairs at tables, and neighbours that touch."""
    pieces = []
    large, every = (np.array(kinds, dtype=object) for kinds in ((sofa, bed, desk), ON_FLOOR))
    order = [*rng.permutation(large)[:2], table, *rng.permutation(every), *rng.choice(every, 4 * count)]
    for kind in order:
        if len(pieces) >= count:
            break
        for _ in range(12):
            piece, foot = kind(rng)
            if kind in _AT_WALL:
                low, quarter = _along_wall(plan, foot, rng)
            else:
                quarter = int(rng.integers(4))
                extent = foot if quarter % 2 == 0 else foot[::-1]
                low = rng.uniform(.05, np.maximum(plan.size - extent - .05, .06))
            if plan.put(piece, foot, low, quarter):
                pieces.append(piece)
                break
        else:
            continue
        low, high = plan.taken[-1]
        if kind is table:
            pieces += _chairs_at(plan, low, high, rng)
        elif rng.random() < .5:  # a neighbour that touches, 0 to 1 cm apart
            other, foot = (chair if kind is chair else cabinet if kind in _AT_WALL else box)(rng)
            extent = foot if quarter % 2 == 0 else foot[::-1]
            beside = (np.array([high[0] + rng.uniform(0, .01), high[1] - extent[1]]) if quarter % 2 == 0
                      else np.array([low[0], high[1] + rng.uniform(0, .01)]))
            if plan.put(other, foot, beside, quarter):
                pieces.append(other)
    return pieces


def _chairs_at(plan: _Plan, low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> list[Piece]:
    pieces = []
    for side in rng.permutation(4)[:int(rng.integers(2, 4))]:
        piece, foot = chair(rng)
        quarter = (0, 3, 2, 1)[side]  # backs away from the table
        extent = foot if quarter % 2 == 0 else foot[::-1]
        middle = (low + high - extent) / 2
        spot = {0: (middle[0], high[1] + .03), 1: (high[0] + .03, middle[1]),
                2: (middle[0], low[1] - extent[1] - .03), 3: (low[0] - extent[0] - .03, middle[1])}[int(side)]
        if plan.put(piece, foot, np.array(spot), quarter):
            pieces.append(piece)
    return pieces


def _structure(size: np.ndarray, height: float, rng: np.random.Generator) -> list[Piece]:
    """The floor, two walls, a picture, and mostly a door."""
    floor, walls = Piece(FLOOR), [Piece(WALL), Piece(WALL)]
    x, y, z = np.array([size[0], 0, 0]), np.array([0, size[1], 0]), np.array([0, 0, height])
    floor.surfaces.append(Surface(np.zeros(3), x, y))
    walls[0].surfaces.append(Surface(y, x, z))
    walls[1].surfaces.append(Surface(np.zeros(3), y, z))
    pieces = [floor, *walls]
    picture = Piece('picture')
    wide, tall = rng.uniform(.45, .7), rng.uniform(.4, .5)
    left = rng.uniform(.1, size[0] - wide - .1)
    picture.box((left, size[1] - .05, height - tall - .05), (left + wide, size[1] + .01, height - .05),
                open_bottom=False)
    pieces.append(picture)
    if rng.random() < .7:
        door = Piece('door')
        left = rng.uniform(.1, size[1] - .9)
        door.box((-.01, left, 0), (.04, left + .8, height - .05))
        pieces.append(door)
    return pieces


def _sample(surface: Surface, spacing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices of a surface, (n, 3), its triangles, and the patch of each vertex."""
    sides = [np.linalg.norm(surface.u), np.linalg.norm(surface.v)]
    counts = [max(2, int(round(side / spacing)) + 1) for side in sides]
    a, b = np.meshgrid(*(np.linspace(0, 1, count) for count in counts), indexing='ij')
    points = surface.origin + a.reshape(-1, 1) * surface.u + b.reshape(-1, 1) * surface.v
    corner = np.arange(a.size).reshape(a.shape)[:-1, :-1].reshape(-1, 1)
    step = counts[1]
    faces = np.concatenate([corner + [0, step, 1], corner + [1, step, step + 1]])
    cells = [np.minimum((axis * side / PATCH).astype(int), max(int(np.ceil(side / PATCH)) - 1, 0))
             for axis, side in zip((a.ravel(), b.ravel()), sides, strict=True)]
    return points, faces, cells[0] * 1000 + cells[1]


def _colour(category: str, rng: np.random.Generator) -> np.ndarray:
    hue = (_HUE[category] + rng.normal(0, .04)) % 1
    return np.array(colorsys.hsv_to_rgb(hue, rng.uniform(.25, .75), rng.uniform(.35, .9))) * 255


@dataclass
class Room:
    """A drawn room.

    Attributes:
        xyz: (n, 3) float32.
        rgb: (n, 3) uint8.
        faces: (m, 3) int32.
        segments: (n,) segment of each vertex in the over-segmentation.
        objects: (n,) object of each vertex, -1 for clutter that nobody annotated.
        categories: Category of each object.
    """

    xyz: np.ndarray
    rgb: np.ndarray
    faces: np.ndarray
    segments: np.ndarray
    objects: np.ndarray
    categories: list[str]


def draw_room(seed: tuple[int, ...]) -> Room:
    """Draw a room, of 5,000 to 20,000 vertices; the same seed, the same room."""
    rng = np.random.default_rng(seed)
    size, height = rng.uniform(2.6, 3.6, 2), rng.uniform(1.5, 1.9)
    plan = _Plan(size)
    pieces = _structure(size, height, rng)
    if pieces[-1].category == 'door':
        low = pieces[-1].solids[0][0][1]
        plan.taken.append((np.array([0, low]), np.array([.6, low + .8])))  # nothing stands before the door
    pieces += _furnish(plan, rng, int(rng.integers(9, 13)))
    parts, start = [], 0
    for number, piece in enumerate(pieces):
        spacing = STRUCTURE_SPACING if piece.category in (WALL, FLOOR) else SPACING
        base = _colour(piece.category, rng)
        for index, surface in enumerate(piece.surfaces):
            points, faces, patches = _sample(surface, spacing)
            shade = rng.uniform(.85, 1.)  # one light a surface
            colours = base * shade + rng.normal(0, 8, (len(points), 3))
            keys = (number * 1000 + index) * 1_000_000 + patches
            parts.append((piece.into_room(points), colours, faces + start, keys, np.full(len(points), number)))
            start += len(points)
    return _assemble(parts, pieces, rng)


def _assemble(parts: list[tuple], pieces: list[Piece], rng: np.random.Generator) -> Room:
    xyz, rgb, faces, keys, objects = (np.concatenate(group) for group in zip(*parts, strict=True))
    seen = np.ones(len(xyz), dtype=bool)
    for number, piece in enumerate(pieces):
        others = np.flatnonzero(objects != number)
        seen[others[piece.hides(xyz[others], .004)]] = False
    for centre in xyz[rng.choice(len(xyz), HOLES)]:
        seen &= np.linalg.norm(xyz - centre, axis=1) > rng.uniform(.05, .15)
    seen &= rng.random(len(xyz)) > .02
    near = np.linalg.norm(xyz - xyz[rng.integers(len(xyz))], axis=1) < .12  # a smear that nobody annotated
    kept = rng.permutation(np.flatnonzero(seen))  # a mesh is not in the order of its objects either
    new = np.full(len(xyz), -1)
    new[kept] = np.arange(len(kept))
    faces = new[faces]
    keys = np.where(near, keys + 500, keys)
    segments = np.unique(keys[kept], return_inverse=True)[1]
    owners = np.where(near, -1, objects)[kept]
    present, numbers = np.unique(owners[owners >= 0], return_inverse=True)
    owners[owners >= 0] = numbers
    return Room(
        (xyz[kept] + rng.normal(0, NOISE, (len(kept), 3))).astype(np.float32),
        np.clip(rgb[kept], 0, 255).astype(np.uint8), faces[(faces >= 0).all(1)].astype(np.int32), segments, owners,
        [pieces[number].category for number in present])
