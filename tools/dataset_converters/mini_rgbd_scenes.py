"""Rooms of the mini RGB-D set: furniture as boxes, materials, light and camera, before anything is rendered.

Lengths are in metres. The room's frame has its origin in a corner of the floor, z up; the camera stands near the wall
y = 0 and looks towards +y. The room has no ceiling.

How hard the set is
- Depth alone cannot see window, picture and floor mat: they stand out by 4 to 6 mm, and a pixel of depth has a noise of
  4.5 mm at 1 m, 16.5 mm at 3 m.
- Colour alone has little to tell table, bookshelf and dresser by: most of them wear the material of the wall, whose
  blotches run on over their edges, under light that shades their faces weakly.
- Bed and chair have a colour of their own and a shape of their own; wall and floor as well, save that some floors wear
  the wall's material.
- Colour depends on the room: its light has a random strength, hue and place, and materials are drawn anew.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, field

import numpy as np
from mini_rooms import Piece, bed, cabinet, chair, table
from mini_rooms import bookshelf as rack

CLASSES = ('wall', 'floor', 'bed', 'chair', 'table', 'window', 'bookshelf', 'picture', 'dresser', 'floor mat')
"""Classes of the masks, in the order of NYUDv2's 40."""
CAMOUFLAGED = ('table', 'bookshelf', 'dresser')
CAMOUFLAGE, FLOOR_CAMOUFLAGE = 0.9, 0.3
"""How many of the camouflaged classes' pieces, and of the floors, wear the wall's material."""
_HUE = dict(bed=.62, chair=.0)
_THIN = dict(window=.004, picture=.004, mat=.006)
_IN_FRONT = 1.4
"""Furniture keeps this distance from the wall y = 0, where the camera stands."""


@dataclass
class Material:
    """What a surface looks like.

    Attributes:
        kind: 'blotch' (between two colours, in the room's frame), 'stripes', 'panes' or 'print'.
        colours: (2, 3) in 0..1.
        frequency: Blotches a metre, or stripes a metre.
        offset: (3,) shift within the noise.
    """

    kind: str
    colours: np.ndarray
    frequency: float
    offset: np.ndarray


@dataclass
class Thing:
    """An object of a room: its class and its look; `piece` is None for wall and floor."""

    category: str
    material: Material
    piece: Piece | None = None

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Low and high corner in the piece's frame."""
        return (np.min([low for low, _ in self.piece.solids], 0), np.max([high for _, high in self.piece.solids], 0))


@dataclass
class Camera:
    """A pinhole camera.

    Attributes:
        position: (3,) in the room.
        yaw: Turn about z; 0 looks towards +y.
        pitch, roll: Downwards, and about the viewing direction.
        focal: Focal length as a multiple of the image's height.
    """

    position: np.ndarray
    yaw: float
    pitch: float
    roll: float
    focal: float

    @property
    def level(self) -> np.ndarray:
        """(3, 3): directions of the room to those of the depth frame, x right, y forward, z up."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        return np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])

    @property
    def tilted(self) -> np.ndarray:
        """(3, 3): directions of the depth frame to those of the camera, x right, y down, z forward."""
        cos, sin = np.cos(self.pitch), np.sin(self.pitch)
        down = np.array([[1, 0, 0], [0, -sin, -cos], [0, cos, -sin]])
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ down

    def intrinsics(self, size: tuple[int, int]) -> np.ndarray:
        """(3, 3) for an image of (width, height); the centre of the first pixel is (0, 0)."""
        width, height = size
        focal = self.focal * height
        return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


@dataclass
class Light:
    """A lamp, and the exposure.

    Attributes:
        position: (3,) in the room.
        ambient: Share of light that comes from everywhere.
        gain: (3,) factor of red, green, blue.
    """

    position: np.ndarray
    ambient: float
    gain: np.ndarray


@dataclass
class Room:
    """A furnished room. Things 0 and 1 are wall and floor; `noise` is what textures read, (16, 16, 16) in 0..1."""

    size: np.ndarray
    camera: Camera
    light: Light
    things: list[Thing]
    noise: np.ndarray
    taken: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)


# ---------------------------------------------------------------------------------------------
# Materials
# ---------------------------------------------------------------------------------------------
def _colours(rng: np.random.Generator, hue: float, saturation: tuple, value: tuple, spread: float) -> np.ndarray:
    """Two colours of about one hue, `spread` apart in brightness."""
    saturation, value = rng.uniform(*saturation), rng.uniform(*value)
    return np.array([colorsys.hsv_to_rgb((hue + rng.normal(0, .02)) % 1, saturation, level)
                     for level in (value - spread / 2, value + spread / 2)])


def _blotches(rng: np.random.Generator, hue: float | None = None) -> Material:
    if hue is None:
        colours = _colours(rng, rng.random(), (.05, .45), (.4, .7), .5)
    else:
        colours = _colours(rng, hue + rng.normal(0, .03), (.35, .8), (.4, .75), .35)
    return Material('blotch', colours, rng.uniform(4, 8), rng.uniform(0, 16, 3))


def _flat(rng: np.random.Generator, category: str) -> Material:
    if category == 'window':
        colours = np.stack([_colours(rng, .55, (.05, .25), (.85, .95), .1)[1], np.full(3, rng.uniform(.15, .8))])
        return Material('panes', colours, 0., np.zeros(3))
    kind = dict(picture='print').get(category, 'stripes')
    first, second = rng.random(), rng.uniform(.25, .75)
    colours = np.stack([_colours(rng, hue, (.5, .95), (.4, .9), .2)[0] for hue in (first, first + second)])
    return Material(kind, colours, rng.uniform(4, 7), rng.uniform(0, 16, 3))


# ---------------------------------------------------------------------------------------------
# Furniture
# ---------------------------------------------------------------------------------------------
def _turn(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def _footprint(foot: np.ndarray, angle: float) -> np.ndarray:
    """Sides of the upright rectangle around a turned footprint, (2,)."""
    return np.abs(_turn(angle)) @ foot


def _stand(piece: Piece, foot: np.ndarray, centre: np.ndarray, angle: float) -> None:
    """Put the centre of a piece's footprint at a place, turned."""
    piece.angle = angle
    piece.place = np.append(centre - _turn(angle) @ (foot / 2), 0.)


def bookshelf(rng: np.random.Generator) -> tuple[Piece, np.ndarray]:
    """A rack with a back; with its footprint (width, depth)."""
    piece, foot = rack(rng)
    piece.box((0, foot[1] - .02, 0), (*foot, max(high[2] for _, high in piece.solids)))
    return piece, foot


def _is_free(room: Room, centre: np.ndarray, extent: np.ndarray, beside: int | None = None) -> bool:
    """Whether a footprint is inside of the room, off the camera's side, and overlaps none of `taken` but `beside`."""
    low, high = centre - extent / 2, centre + extent / 2
    if (low < (0, _IN_FRONT)).any() or (high > room.size).any():
        return False
    return all((high <= other_low).any() or (low >= other_high).any()
               for number, (other_low, other_high) in enumerate(room.taken) if number != beside)


def _spot_at_wall(room: Room, rng: np.random.Generator, foot: np.ndarray, gap: float) -> tuple[np.ndarray, float]:
    """A place with the back (the high end of y) at the far, left or right wall, and the turn."""
    angle = np.pi / 2 * int(rng.choice((0, 0, 1, -1)))
    extent = _footprint(foot, angle)
    low = np.array([0, _IN_FRONT]) + extent / 2 + gap
    high = np.maximum(room.size - extent / 2 - gap, low)
    centre = rng.uniform(low, high)
    if angle == 0:
        centre[1] = high[1]
    else:
        centre[0] = low[0] if angle > 0 else high[0]
    return centre, angle


def _spot_anywhere(room: Room, rng: np.random.Generator, foot: np.ndarray) -> tuple[np.ndarray, float]:
    angle = rng.choice(4) * np.pi / 2 + rng.uniform(-.5, .5)
    extent = _footprint(foot, angle)
    low = np.array([0, _IN_FRONT]) + extent / 2
    return rng.uniform(low, np.maximum(room.size - extent / 2, low)), angle


def _put(room: Room, rng: np.random.Generator, category: str, make, at_wall: bool) -> Piece | None:
    """Draw a piece and find a place for it; None if there is none."""
    for _ in range(20):
        piece, foot = make(rng)
        centre, angle = _spot_at_wall(room, rng, foot, .015) if at_wall else _spot_anywhere(room, rng, foot)
        extent = _footprint(foot, angle)
        if _is_free(room, centre, extent):
            _stand(piece, foot, centre, angle)
            _keep(room, rng, category, piece, centre, extent)
            return piece
    return None


def _keep(room: Room, rng: np.random.Generator, category: str, piece: Piece, centre: np.ndarray,
          extent: np.ndarray) -> None:
    if category in CAMOUFLAGED and rng.random() < CAMOUFLAGE:
        material = room.things[0].material
    else:
        material = _blotches(rng, _HUE.get(category))
    room.taken.append((centre - extent / 2, centre + extent / 2))
    room.things.append(Thing(category, material, piece))


def _chairs_at(room: Room, rng: np.random.Generator, desk: Piece) -> None:
    """One to three chairs around a table, their backs away from it."""
    size = np.max([high for _, high in desk.solids], 0)[:2]
    middle, number = desk.into_room(np.append(size / 2, 0)[None])[0, :2], len(room.taken) - 1
    for side in rng.permutation(4)[:int(rng.integers(1, 4))]:
        angle = desk.angle + side * np.pi / 2
        piece, foot = chair(rng)
        reach = size[1 - side % 2] / 2 + foot[1] / 2 + rng.uniform(0, .15)
        centre = middle + _turn(angle) @ (0, reach)
        extent = _footprint(foot, angle)
        if _is_free(room, centre, extent, beside=number):  # of a turned table, the rectangle is larger than the top
            _stand(piece, foot, centre, angle)
            _keep(room, rng, 'chair', piece, centre, extent)


def _hang(room: Room, rng: np.random.Generator, hung: dict, category: str) -> None:
    """Hang a window or a picture on a wall, beside what hangs there."""
    tall, wide = (rng.uniform(.7, 1.), rng.uniform(.7, 1.2)) if category == 'window' else rng.uniform(.4, .75, 2)
    foot = np.array([wide, _THIN[category]])
    for _ in range(20):
        centre, angle = _spot_at_wall(room, rng, foot, 0.)
        along = centre[0 if angle == 0 else 1]
        if all(abs(along - other) > (wide + width) / 2 + .05 for other, width in hung.setdefault(angle, [])):
            hung[angle].append((along, wide))
            low = rng.uniform(.9, 1.3)
            piece = Piece(category)
            piece.box((0, 0, low), (wide, foot[1], low + tall))
            _stand(piece, foot, centre, angle)
            room.things.append(Thing(category, _flat(rng, category), piece))
            return


def _lay_mat(room: Room, rng: np.random.Generator) -> None:
    """Lay a mat on the floor; furniture may stand on it."""
    foot = rng.uniform((.9, .6), (1.6, 1.1))
    piece = Piece('floor mat')
    piece.box((0, 0, 0), (*foot, _THIN['mat']))
    _stand(piece, foot, *_spot_anywhere(room, rng, foot))
    room.things.append(Thing('floor mat', _flat(rng, 'floor mat'), piece))


# ---------------------------------------------------------------------------------------------
# Rooms
# ---------------------------------------------------------------------------------------------
def _camera(rng: np.random.Generator, size: np.ndarray) -> Camera:
    position = np.array([size[0] * rng.uniform(.35, .65), rng.uniform(.1, .4), rng.uniform(1.2, 1.6)])
    return Camera(position, rng.uniform(-.35, .35), rng.uniform(.12, .3), rng.normal(0, .02), rng.uniform(1., 1.15))


def _light(rng: np.random.Generator, size: np.ndarray) -> Light:
    gain = np.exp(rng.uniform(np.log(.5), np.log(1.3))) * (1 + rng.normal(0, .08, 3))
    return Light(np.append(rng.uniform(.2, .8, 2) * size, 2.2), rng.uniform(.7, .95), gain)


def draw_room(seed: tuple[int, ...]) -> Room:
    """Draw a room with 5 to 10 pieces of furniture; the same seed, the same room."""
    rng = np.random.default_rng(seed)
    size = rng.uniform((3.2, 3.6), (4.4, 4.8))
    noise = rng.random((16, 16, 16)).astype(np.float32)
    wall = Thing('wall', _blotches(rng))
    floor = Thing('floor', wall.material if rng.random() < FLOOR_CAMOUFLAGE else _blotches(rng))
    room = Room(size, _camera(rng, size), _light(rng, size), [wall, floor], noise)
    for category, make, share in (('bed', bed, .65), ('bookshelf', bookshelf, .85), ('dresser', cabinet, .9),
                                  ('dresser', cabinet, .4)):
        if rng.random() < share:
            _put(room, rng, category, make, at_wall=True)
    desk = _put(room, rng, 'table', table, at_wall=False) if rng.random() < .9 else None
    if desk is not None:
        _chairs_at(room, rng, desk)
    if rng.random() < .5:
        _put(room, rng, 'chair', chair, at_wall=False)
    hung: dict[float, list] = {}
    for category in ('window', 'picture', *rng.choice(('window', 'picture'), 2)):
        _hang(room, rng, hung, str(category))
    _lay_mat(room, rng)
    return room
