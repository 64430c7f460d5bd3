"""Rendering the rooms of the mini RGB-D set: ray-casting of boxes, colours, and what a depth sensor would see of them.

Rays have z = 1 in the camera's frame, so the parameter of a hit is its depth along the viewing direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from mini_rgbd_scenes import Camera, Material, Room, Thing
from scipy.ndimage import map_coordinates

_NEAR = 1e-3
_CORNERS = np.array([[bool(number >> axis & 1) for axis in range(3)] for number in range(8)])


@dataclass
class View:
    """What a camera sees of a room.

    Attributes:
        depth: (h, w) distance along the viewing direction, metres.
        rays: (h, w, 3) directions in the room's frame, of depth 1.
        thing: (h, w) index into the room's things.
        normal: (h, w, 3) of the surface, in the room's frame, towards the camera.
    """

    depth: np.ndarray
    rays: np.ndarray
    thing: np.ndarray
    normal: np.ndarray

    def points(self, camera: Camera) -> np.ndarray:
        """(h, w, 3) points in the room's frame."""
        return camera.position + self.rays * self.depth[..., None]


def _rays(camera: Camera, size: tuple[int, int]) -> np.ndarray:
    k = camera.intrinsics(size)
    u, v = np.meshgrid((np.arange(size[0]) - k[0, 2]) / k[0, 0], (np.arange(size[1]) - k[1, 2]) / k[1, 1])
    return np.stack([u, v, np.ones_like(u)], -1) @ (camera.tilted @ camera.level)


def _see_shell(room: Room, rays: np.ndarray) -> View:
    """Walls and floor, from inside."""
    here = room.camera.position
    with np.errstate(divide='ignore'):
        ahead = np.where(rays[..., :2] > 0, room.size - here[:2], -here[:2]) / rays[..., :2]
        below = np.where(rays[..., 2] < 0, -here[2] / rays[..., 2], np.inf)
    hits = np.concatenate([ahead, below[..., None]], -1)
    axis = hits.argmin(-1)
    normal = -np.sign(rays) * (axis[..., None] == np.arange(3))
    return View(hits.min(-1), rays, (axis == 2).astype(np.int32), normal)


def _window(camera: Camera, size: tuple[int, int], corners: np.ndarray) -> tuple[slice, slice] | None:
    """Rows and columns that a box can cover, by its (8, 3) corners in the room; None if it is out of sight."""
    seen = (corners - camera.position) @ (camera.tilted @ camera.level).T
    if seen[:, 2].max() <= _NEAR:
        return None
    if seen[:, 2].min() <= .05:
        return slice(None), slice(None)
    pixels = seen @ camera.intrinsics(size).T
    pixels = pixels[:, :2] / pixels[:, 2:]
    low = np.maximum(np.floor(pixels.min(0)), 0).astype(int)
    high = np.minimum(np.ceil(pixels.max(0)) + 1, size).astype(int)
    return (slice(low[1], high[1]), slice(low[0], high[0])) if (low < high).all() else None


def _see_box(view: View, number: int, thing: Thing, low: np.ndarray, high: np.ndarray, camera: Camera) -> None:
    """Draw a box of a thing where it is nearer than what was seen so far."""
    piece = thing.piece
    corners = np.where(_CORNERS, high, low)
    window = _window(camera, view.depth.shape[::-1], piece.into_room(corners))
    if window is None:
        return
    cos, sin = np.cos(piece.angle), np.sin(piece.angle)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    rays = view.rays[window] @ turn
    rays = np.where(np.abs(rays) < 1e-9, 1e-9, rays)
    here = (camera.position - piece.place) @ turn
    one, two = (low - here) / rays, (high - here) / rays
    enter = np.minimum(one, two)
    first, last = enter.max(-1), np.maximum(one, two).min(-1)
    hit = (first < last) & (first > _NEAR) & (first < view.depth[window])
    axis = enter[hit].argmax(-1)
    local = -np.sign(rays[hit]) * (axis[:, None] == np.arange(3))
    view.depth[window][hit] = first[hit]
    view.thing[window][hit] = number
    view.normal[window][hit] = local @ turn.T


def look(room: Room, size: tuple[int, int]) -> View:
    """Ray-cast a room.

    Args:
        room: The room.
        size: Width and height in pixels.
    """
    view = _see_shell(room, _rays(room.camera, size))
    for number, thing in enumerate(room.things):
        if thing.piece is not None:
            for low, high in thing.piece.solids:
                _see_box(view, number, thing, low, high, room.camera)
    return view


# ---------------------------------------------------------------------------------------------
# Colours
# ---------------------------------------------------------------------------------------------
def _noise(table: np.ndarray, points: np.ndarray, order: int = 1) -> np.ndarray:
    """Periodic noise in 0..1 at (n, 3) points, one unit between its independent values."""
    return map_coordinates(table, points.T, order=order, mode='grid-wrap')


def _blotch(material: Material, table: np.ndarray, points: np.ndarray) -> np.ndarray:
    coarse = points * material.frequency + material.offset
    mix = .65 * _noise(table, coarse) + .35 * _noise(table, coarse * 2.7 + 5)
    mix = np.clip((mix - .5) * 2.5 + .5, 0, 1)[:, None]
    return material.colours[0] * (1 - mix) + material.colours[1] * mix


def _albedo(thing: Thing, table: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Colours (n, 3) of points of the room's frame on a thing."""
    material = thing.material
    if material.kind == 'blotch':
        return _blotch(material, table, points)
    piece, (low, high) = thing.piece, thing.bounds
    cos, sin = np.cos(piece.angle), np.sin(piece.angle)
    local = (points - piece.place) @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) - low
    share = local / (high - low)
    if material.kind == 'stripes':
        second = np.floor(local[:, 0] * material.frequency) % 2
    elif material.kind == 'panes':
        bars = np.abs(share[:, (0, 2)] * 2 - np.round(share[:, (0, 2)] * 2)) < .07
        second = bars.any(1)
    else:
        frame = (np.abs(share[:, (0, 2)] - .5) > .44).any(1)
        cells = _noise(table, np.floor(local * material.frequency) + material.offset, order=0)
        tint = _noise(table, np.floor(local * material.frequency) + material.offset + 7, order=0)
        colours = np.where((cells > .5)[:, None], *material.colours) * (.6 + .6 * tint[:, None])
        return np.where(frame[:, None], .08, colours)
    return np.where(np.asarray(second, bool)[:, None], material.colours[1], material.colours[0])


def colour(room: Room, view: View) -> np.ndarray:
    """The picture: (h, w, 3) uint8, red, green, blue."""
    points = view.points(room.camera)
    picture = np.empty_like(points)
    for number in np.unique(view.thing):
        where = view.thing == number
        picture[where] = _albedo(room.things[number], room.noise, points[where])
    to_lamp = room.light.position - points
    distance = np.linalg.norm(to_lamp, axis=-1)
    facing = np.clip((view.normal * to_lamp).sum(-1) / distance, 0, 1)
    ambient = room.light.ambient
    light = (ambient + (1 - ambient) * facing) * (.55 + .9 / (1 + (distance / 2.2)**2))
    picture = np.clip(picture * light[..., None] * room.light.gain, 0, 1) * 255
    return cv2.GaussianBlur(picture, (3, 3), .5).round().astype(np.uint8)


# ---------------------------------------------------------------------------------------------
# Sensors
# ---------------------------------------------------------------------------------------------
def depth_steps(depth: np.ndarray) -> np.ndarray:
    """Where the surface is torn: (h, w) relative second difference of 1 / depth, which is 0 on planes."""
    inverse = 1 / depth
    padded = np.pad(inverse, 1, mode='reflect', reflect_type='odd')
    across = np.abs(padded[1:-1, 2:] + padded[1:-1, :-2] - 2 * inverse)
    down = np.abs(padded[2:, 1:-1] + padded[:-2, 1:-1] - 2 * inverse)
    return np.maximum(across, down) * depth


def sense_depth(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Depth as a structured-light camera gives it: noise that grows with depth, and holes at its steps; 0 is a hole."""
    noisy = depth + rng.normal(0, 1, depth.shape) * (.003 + .0015 * depth**2)
    torn = cv2.dilate((depth_steps(depth) > .06).astype(np.uint8), np.ones((2, 2), np.uint8)) > 0
    holes = (torn & (rng.random(depth.shape) < .6)) | (rng.random(depth.shape) < .005)
    return np.where(holes, 0, noisy)


def sense_colour(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture with the noise of a camera."""
    return np.clip(picture + rng.normal(0, 5, picture.shape), 0, 255).round().astype(np.uint8)
