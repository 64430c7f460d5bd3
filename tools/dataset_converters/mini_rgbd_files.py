"""The mini RGB-D set's three layouts of a scene: NYUDv2 as TokenFusion reads it, Taskonomy, and mmdet3d's SUN RGB-D."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from indoor_infos import write_infos
from mini_rgbd_render import View, colour, depth_steps, look, sense_colour, sense_depth
from mini_rgbd_scenes import CLASSES, Camera, Room, Thing
from rgbd_files import IGNORE, classes_text, depth_bytes, list_text, mask_bytes, picture_bytes

TASKONOMY_UNIT, TASKONOMY_MISSING = 512, 65535
DOMAINS = ('rgb', 'normal', 'reshading', 'depth_euclidean', 'depth_zbuffer', 'edge_texture', 'edge_occlusion')
EDGE_TEXTURE, EDGE_OCCLUSION = 11355, 11584
"""Largest values of the two, as in Taskonomy."""
SUN_CLASSES = ('bed', 'table', 'sofa', 'chair', 'toilet', 'desk', 'dresser', 'night_stand', 'bookshelf', 'bathtub')
_UNDECIDED = 0.5
_SEEN = 0.004
"""Share of an image that an object must cover to be annotated in 3D."""


# ---------------------------------------------------------------------------------------------
# NYUDv2
# ---------------------------------------------------------------------------------------------
def class_mask(room: Room, view: View, rng: np.random.Generator) -> np.ndarray:
    """Classes (h, w) uint8; about half of the pixels right of or below a border are undecided, 255."""
    classes = np.array([CLASSES.index(thing.category) for thing in room.things], dtype=np.uint8)
    mask = classes[view.thing]
    border = np.zeros(mask.shape, dtype=bool)
    border[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    border[1:] |= mask[1:] != mask[:-1]
    return np.where(border & (rng.random(mask.shape) < _UNDECIDED), IGNORE, mask).astype(np.uint8)


def write_nyu(folder: Path, name: str, picture: np.ndarray, depth: np.ndarray, mask: np.ndarray) -> None:
    """Write rgb/, depth/ and masks/ of a scene; `depth` (h, w) in metres, 0 for missing."""
    for part, content in (('rgb', picture_bytes(picture)), ('depth', depth_bytes(depth)), ('masks', mask_bytes(mask))):
        (folder / part / f'{name}.png').write_bytes(content)


# ---------------------------------------------------------------------------------------------
# Taskonomy
# ---------------------------------------------------------------------------------------------
def _holes(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Where the mesh of the building has holes: up to two small discs, (h, w) bool."""
    holes = np.zeros(shape, dtype=np.uint8)
    for _ in range(rng.integers(3)):
        centre = (int(rng.integers(shape[1])), int(rng.integers(shape[0])))
        cv2.circle(holes, centre, max(1, int(shape[0] * rng.uniform(.02, .05))), 1, -1)
    return holes > 0


def _reshading(view: View) -> np.ndarray:
    """Brightness (h, w) uint8 under a lamp at the camera."""
    length = np.linalg.norm(view.rays, axis=-1)
    facing = -(view.normal * view.rays).sum(-1) / length
    fall = 1 / (1 + (length * view.depth / 6)**2)
    return np.rint(255 * np.clip(.1 + .9 * facing * fall, 0, 1)).astype(np.uint8)


def _texture_edges(picture: np.ndarray) -> np.ndarray:
    """Gradient of the smoothed brightness, (h, w) uint16."""
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32), (3, 3), .8)
    strength = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)) / (4 * 255)
    return np.rint(EDGE_TEXTURE * np.minimum(strength * 2, 1)).astype(np.uint16)


def _occlusion_edges(depth: np.ndarray) -> np.ndarray:
    """Steps of the depth, (h, w) uint16."""
    steps = cv2.GaussianBlur(np.clip(depth_steps(depth) * 4, 0, 1), (3, 3), .7)
    return np.rint(EDGE_OCCLUSION * steps).astype(np.uint16)


def domains(view: View, camera: Camera, picture: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The images of a scene, by domain.

    `normal` is (h, w, 3) uint8, 127 + 127 n with n in the frame x right, y up, z towards the camera [inferred].

    Args:
        view: What the camera sees, square.
        camera: The camera.
        picture: (h, w, 3) colours.
        rng: Source of the holes.
    """
    hole = _holes(view.depth.shape, rng)
    normal = view.normal @ (camera.tilted @ camera.level).T * (1, -1, -1)
    euclidean = view.depth * np.linalg.norm(view.rays, axis=-1)
    images = dict(rgb=picture, normal=np.rint(127 + 127 * normal).astype(np.uint8), reshading=_reshading(view))
    for name, depth in (('depth_euclidean', euclidean), ('depth_zbuffer', view.depth)):
        images[name] = np.where(hole, TASKONOMY_MISSING, np.rint(depth * TASKONOMY_UNIT)).astype(np.uint16)
    return images | dict(edge_texture=_texture_edges(picture), edge_occlusion=_occlusion_edges(view.depth))


def taskonomy_name(number: int) -> str:
    """Name of a scene's file, with the placeholder that the lists keep."""
    return f'{{domain}}/point_{number}_view_0_domain_{{domain}}.png'


def write_taskonomy(folder: Path, number: int, images: dict[str, np.ndarray]) -> None:
    """Write a scene's images, one folder a domain."""
    for domain, image in images.items():
        (folder / taskonomy_name(number).format(domain=domain)).write_bytes(picture_bytes(image))


# ---------------------------------------------------------------------------------------------
# SUN RGB-D
# ---------------------------------------------------------------------------------------------
def depth2img(camera: Camera, size: tuple[int, int]) -> np.ndarray:
    """(3, 3) from the depth frame to pixels that count from 1, as mmdet3d's SUN RGB-D has it."""
    k = camera.intrinsics(size)
    k[:2, 2] += 1
    return k @ camera.tilted


def box_3d(thing: Thing, camera: Camera) -> list[float]:
    """A thing's box in the depth frame: gravity centre, sizes along and across its heading, height, yaw.

    The heading is where its front looks; its turn from the x axis is anticlockwise seen from above, in (-pi, pi].
    """
    low, high = thing.bounds
    centre = camera.level @ (thing.piece.into_room(((low + high) / 2)[None])[0] - camera.position)
    width, depth, height = high - low
    yaw = thing.piece.angle - np.pi / 2 - camera.yaw  # the front is the low end of y
    yaw = np.pi - (np.pi - yaw) % (2 * np.pi)
    return [*centre.tolist(), depth, width, height, float(yaw)]


def instances(room: Room, view: View, size: tuple[int, int]) -> list[dict]:
    """Annotations of what can be seen well: enough of its pixels, and its centre projects into the image."""
    found = []
    to_pixels = depth2img(room.camera, size)
    for number, thing in enumerate(room.things):
        category = thing.category.replace(' ', '_')
        rows, columns = np.nonzero(view.thing == number)
        if category not in SUN_CLASSES or len(rows) < _SEEN * view.thing.size:
            continue
        box = box_3d(thing, room.camera)
        u, v, depth = to_pixels @ box[:3]
        if depth <= 0 or not (1 <= u / depth <= size[0] and 1 <= v / depth <= size[1]):
            continue
        label = SUN_CLASSES.index(category)
        corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        found.append(dict(bbox=[float(value) for value in corners], bbox_label=label,
                          bbox_3d=[float(value) for value in box], bbox_label_3d=label))
    return found


def point_cloud(depth: np.ndarray, picture: np.ndarray, camera: Camera, count: int,
                rng: np.random.Generator) -> np.ndarray:
    """At most `count` of the measured points: (n, 6) float32, the depth frame's xyz, and red, green, blue in 0..1."""
    rows, columns = np.nonzero(depth)
    chosen = rng.permutation(len(rows))[:count]
    rows, columns = rows[chosen], columns[chosen]
    pixels = np.stack([columns + 1., rows + 1., np.ones(len(rows))], 1) * depth[rows, columns][:, None]
    xyz = pixels @ np.linalg.inv(depth2img(camera, depth.shape[::-1])).T
    return np.concatenate([xyz, picture[rows, columns] / 255], 1).astype(np.float32)


def sun_info(name: str, room: Room, view: View, size: tuple[int, int]) -> dict:
    """A scene's entry of mmdet3d 1.4's info file."""
    camera = dict(img_path=f'{name}.jpg', height=size[1], width=size[0],
                  depth2img=depth2img(room.camera, size).tolist())
    return dict(lidar_points=dict(num_pts_feats=6, lidar_path=f'{name}.bin'), images=dict(CAM0=camera),
                instances=instances(room, view, size))


# ---------------------------------------------------------------------------------------------
# All
# ---------------------------------------------------------------------------------------------
def make_folders(root: Path) -> None:
    """Make the folders that `write_scene` writes into."""
    for name in ('nyu/rgb', 'nyu/depth', 'nyu/masks', 'sunrgbd/points', 'sunrgbd/sunrgbd_trainval/image',
                 *(f'taskonomy/{domain}' for domain in DOMAINS)):
        (root / name).mkdir(parents=True)


def write_scene(root: Path, number: int, room: Room, seed: Sequence[int], size: tuple[int, int], square: int,
                points: int) -> dict:
    """Write a scene in the three layouts.

    Args:
        root: Folder for `nyu/`, `taskonomy/` and `sunrgbd/`.
        number: Of the scene, from 1.
        room: What is seen.
        seed: Of the sensors.
        size: Width and height of nyu and sunrgbd.
        square: Side of the Taskonomy images; they show the middle of the others, height by height.
        points: Points of the cloud, at most.

    Returns:
        Its entry of the SUN RGB-D info file.
    """
    rng, name = np.random.default_rng(seed), f'{number:06d}'
    view = look(room, size)
    picture = sense_colour(colour(room, view), rng)
    depth = sense_depth(view.depth, rng)
    write_nyu(root / 'nyu', name, picture, depth, class_mask(room, view, rng))
    (root / 'sunrgbd/sunrgbd_trainval/image' / f'{name}.jpg').write_bytes(picture_bytes(picture, '.jpg'))
    cloud = point_cloud(depth, picture, room.camera, points, rng)
    (root / 'sunrgbd/points' / f'{name}.bin').write_bytes(cloud.tobytes())
    square_view = look(room, (square, square))
    write_taskonomy(root / 'taskonomy', number, domains(square_view, room.camera, colour(room, square_view), rng))
    return sun_info(name, room, view, size)


def write_lists(root: Path, splits: dict[str, range], infos: dict[str, list[dict]]) -> None:
    """Write the lists of the splits, and the names of the classes.

    Args:
        root: As in `write_scene`.
        splits: Numbers of the scenes of each split.
        infos: Entries of the SUN RGB-D info files.
    """
    (root / 'nyu/classes.txt').write_text(classes_text(CLASSES))
    for split, numbers in splits.items():
        (root / 'nyu' / f'{split}.txt').write_text(list_text([f'{number:06d}' for number in numbers]))
        (root / 'taskonomy' / f'{split}_domain.txt').write_text(''.join(f'{taskonomy_name(n)}\n' for n in numbers))
        entries = json.loads(json.dumps(infos[split]))  # a pickle tells equal strings of two processes from one string
        write_infos(root / 'sunrgbd' / f'sunrgbd_infos_{split}.pkl', 'sunrgbd', SUN_CLASSES, entries)
