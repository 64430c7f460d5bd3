"""Where points lie in images (TokenFusion, arXiv 2204.08721, equations 8 and 9; official code of 3D detection).

Points in depth coordinates (x right, y forward, z up) are first freed of the augmentation, then projected, resized as
the image was, rounded, and counted in patches. Two calibrations are known:

- (3, 3), SUN RGB-D: K times the turn into the camera; pixels count from 1, as in MATLAB;
- (4, 4), ScanNet: K times the inverse pose, one for each view; pixels count from 0.

Departures from the official code [inferred]: pixels follow the image's resizing; points outside of the image or behind
the camera are marked, where the official code reads wrong tokens; of several views the one in which a point is nearest
to the middle counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .errors import CalibrationError

NEAR = 1e-3
"""Metres in front of the camera from which on a point counts as seen."""
UNIT = 0.05
"""How far from 1 the length of the viewing direction in a calibration may be."""


@dataclass
class Pixels:
    """Where points lie in the images that the network sees.

    Attributes:
        uv: (V, N, 2) pixels from 0, not rounded; column, then row.
        depth: (V, N) metres in front of the camera.
        inside: (V, N) in front of the camera and, rounded, inside the image.
    """

    uv: Tensor
    depth: Tensor
    inside: Tensor


@dataclass
class Places:
    """Which image token belongs to each point of a batch.

    Attributes:
        index: (B, N) int64, into the V * rows * columns patches of all views; 0 where there is none.
        visible: (B, N) whether there is one.
    """

    index: Tensor
    visible: Tensor

    @classmethod
    def stack(cls, single: Sequence[Places]) -> Places:
        """A batch of samples."""
        return cls(torch.stack([one.index for one in single]), torch.stack([one.visible for one in single]))


def sample_name(meta: dict) -> str:
    """What a message calls a sample."""
    known = [f'{key} {meta[key]}' for key in ('sample_idx', 'lidar_path', 'img_path') if meta.get(key) is not None]
    return 'sample ' + (', '.join(known) if known else 'without a name')


def calibration(meta: dict, like: Tensor) -> Tensor:
    """``depth2img`` of a sample as (V, 3, 3) or (V, 4, 4), in the type of ``like``.

    Raises:
        CalibrationError: there is none; another shape; or numbers that do not give the depth in metres, as those of a
            transposed K.
    """
    value = meta.get('depth2img')
    if value is None:
        raise CalibrationError(
            f"{sample_name(meta)}: the key 'depth2img' is missing, so that points cannot be projected into the image. "
            "Expected images.CAM0.depth2img in the info file; write it anew with the data set's converter, or set "
            "model.fusion_mode='none' to detect from points alone.")
    matrix = np.asarray(value, np.float64)
    matrix = matrix[None] if matrix.ndim == 2 else matrix
    if matrix.ndim != 3 or matrix.shape[1:] not in ((3, 3), (4, 4)):
        raise CalibrationError(f"{sample_name(meta)}: 'depth2img' has shape {np.shape(value)}, expected (3, 3) for SUN "
                               'RGB-D, or (4, 4) or (views, 4, 4) for ScanNet.')
    length = np.linalg.norm(matrix[:, 2, :3], axis=1)
    if not np.isfinite(matrix).all() or (abs(length - 1) > UNIT).any():
        raise CalibrationError(
            f"{sample_name(meta)}: the third row of 'depth2img' has length {length.tolist()}, expected 1: its product "
            'with a point is the depth in metres. Is K transposed, or scaled in all rows? Write the info file anew '
            "with the data set's converter.")
    return torch.as_tensor(matrix, dtype=like.dtype, device=like.device)


def undo_augmentation(points: Tensor, meta: dict) -> Tensor:
    """Points (N, 3) in depth coordinates before flips, rotation, scaling and translation.

    As mmdet3d's ``apply_3d_transformation(..., reverse=True)``, but in the type of the points, which that one makes
    float32.
    """
    for step in reversed(meta.get('transformation_3d_flow', ())):
        if step == 'T':
            points = points - torch.as_tensor(meta['pcd_trans']).to(points)
        elif step == 'S':
            points = points / float(meta['pcd_scale_factor'])
        elif step == 'R':
            points = points @ torch.as_tensor(meta['pcd_rotation']).to(points).inverse()
        elif meta['pcd_horizontal_flip' if step == 'HF' else 'pcd_vertical_flip']:
            points = points * points.new_tensor([-1, 1, 1] if step == 'HF' else [1, -1, 1])
    return points


def project(points: Tensor, matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels (V, N, 2), counted as the calibration does, and depths (V, N) of points (N, 3)."""
    camera = torch.einsum('vij,nj->vni', matrices[:, :3, :3], points)
    if matrices.shape[2] == 4:
        camera = camera + matrices[:, None, :3, 3]
    depth = camera[..., 2]
    # the sign stays, and nothing divides by zero
    return camera[..., :2] / torch.where(depth.abs() < NEAR, NEAR, depth)[..., None], depth


def to_pixels(points: Tensor, meta: dict, augmented: bool = True) -> Pixels:
    """Pixels of a sample's points in the images as the network sees them.

    Args:
        points: (N, 3) in depth coordinates.
        meta: Of the data sample: ``depth2img``, ``img_shape`` and, where they apply, ``scale_factor``, ``flip`` and
            what describes the augmentation of the points.
        augmented: Whether the points went through that augmentation.

    Raises:
        CalibrationError: see ``calibration``.
    """
    matrices = calibration(meta, points)
    if augmented:
        points = undo_augmentation(points, meta)
    uv, depth = project(points, matrices)
    if matrices.shape[1] == 3:
        uv = uv - 1
    height, width = meta['img_shape'][:2]
    uv = uv * uv.new_tensor(meta.get('scale_factor', (1., 1.))[:2])
    if meta.get('flip', False):
        uv = torch.stack([width - 1 - uv[..., 0], uv[..., 1]], -1)
    rounded = uv.round()
    inside = (depth > NEAR) & (rounded >= 0).all(-1) & (rounded[..., 0] < width) & (rounded[..., 1] < height)
    return Pixels(uv, depth, inside)


def to_patches(pixels: Pixels, grid: tuple[int, int], patch_size: int, img_shape: Sequence[int]) -> Places:
    """The patch of each point, of a single sample; a strip beyond the last whole patch belongs to none.

    Args:
        pixels: Of V views.
        grid: Rows and columns of patches in a view.
        patch_size: Pixels of a patch's side.
        img_shape: Height and width of a view; the view in which a point is nearest to the middle counts.

    Returns:
        Fields of shape (N,).
    """
    rows, columns = grid
    patch = (pixels.uv.round() / patch_size).floor()
    visible = pixels.inside & (patch[..., 0] < columns) & (patch[..., 1] < rows)
    middle = pixels.uv.new_tensor([(img_shape[1] - 1) / 2, (img_shape[0] - 1) / 2])
    distance = (pixels.uv - middle).pow(2).sum(-1).masked_fill(~visible, torch.inf)
    view = distance.argmin(0, keepdim=True)
    index = patch[..., 1] * columns + patch[..., 0] + torch.arange(len(patch), device=patch.device)[:, None] * (
        rows * columns)
    seen = visible.any(0)
    return Places(index.gather(0, view)[0].where(seen, torch.zeros_like(index[0])).long(), seen)


def project_boxes(corners: Tensor, meta: dict) -> tuple[Tensor, Tensor]:
    """Rectangles around projected 3D boxes, for views without 2D annotations [inferred].

    Args:
        corners: (K, 8, 3), augmented as the points are.
        meta: As for ``to_pixels``.

    Returns:
        (V, K, 4) left, top, right and bottom, cut at the image, and (V, K) whether all corners are in front of the
        camera and the box's middle is inside the image.
    """
    count = len(corners)
    pixels = to_pixels(torch.cat([corners.flatten(0, 1), corners.mean(1)]), meta)
    uv = pixels.uv[:, :8 * count].unflatten(1, (count, 8))
    height, width = meta['img_shape'][:2]
    limit = uv.new_tensor([width, height])
    boxes = torch.cat([uv.amin(2), uv.amax(2)], -1).clamp(min=0).minimum(torch.cat([limit, limit]))
    in_front = (pixels.depth[:, :8 * count].unflatten(1, (count, 8)) > NEAR).all(2)
    return boxes, in_front & pixels.inside[:, 8 * count:]
