"""Transforms of scenes for grouping methods: PointGroup's augmentation (arXiv 2004.01658, section 4.2 and its code).

Between loading and packing, a scene is `points` (mmdet3d's DepthPoints, (N, 6): x, y, z in metres, red, green, blue),
the masks `pts_semantic_mask` and `pts_instance_mask` (N,), and, from `ToVoxelGrid` on, `grid_coords` (N, 3) float32,
the coordinates in voxels. Elastic distortion moves the latter alone: the network sees a distorted shape, while offsets
and features are taken from undistorted metres.

Order: LoadGroupingScene, (SubsamplePoints), NormalizeScene, (RandomLinearMap, ColorShift), ToVoxelGrid,
(ElasticDistortion, RandomVoxelCrop), (InterleavedParts), PackGroupingInputs; in brackets, what training or S3DIS alone
need.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS
from mmdet3d.structures import DepthPoints, Det3DDataSample, PointData
from scipy import ndimage

from .scene_files import (
    FEATURES,
    IndoorDataError,
    compact,
    map_instances,
    map_labels,
    read_ids,
    read_points,
)

_PER_POINT = ('pts_semantic_mask', 'pts_instance_mask', 'grid_coords')


def keep_points(results: dict, index: np.ndarray) -> dict:
    """Keep the points that `index` (integers or a mask) picks, in everything that is kept for each point."""
    results['points'] = results['points'][torch.from_numpy(index)]
    for key in _PER_POINT:
        if key in results:
            results[key] = results[key][index]
    return results


def _coords(results: dict) -> np.ndarray:
    """The coordinates in metres, (N, 3), as a view."""
    return results['points'].tensor.numpy()[:, :3]


@TRANSFORMS.register_module()
class LoadGroupingScene(BaseTransform):
    """Read points and masks of a scene; map ids to classes and instances to 0, 1, ...

    Adds `points`, and where the info names them `pts_semantic_mask` (class index or the data set's ignore index) and
    `pts_instance_mask` (-1 for none). In `test_mode`, copies of the masks go to `eval_ann_info`. A scene without any
    instance is a scene like others.

    Args:
        min_points: fewer points are refused; one point alone has no statistics to normalise features by.

    Raises:
        IndoorDataError: see :mod:`.scene_files`; too few points.
    """

    def __init__(self, min_points: int = 2) -> None:
        self.min_points = min_points

    def transform(self, results: dict) -> dict:
        """Load a scene."""
        path = results['lidar_path']
        points = read_points(path)
        if len(points) < self.min_points:
            raise IndoorDataError(f'{path}: {len(points)} points, expected at least {self.min_points} (min_points of '
                                  'LoadGroupingScene). Convert the scan again, or take it out of the list')
        results['points'] = DepthPoints(torch.from_numpy(points), points_dim=FEATURES,
                                        attribute_dims=dict(color=[3, 4, 5]))
        if not (results.get('pts_semantic_mask_path') and results.get('pts_instance_mask_path')):
            return results
        semantic = read_ids(results['pts_semantic_mask_path'], len(points), 'pts_semantic_mask_path')
        instance = read_ids(results['pts_instance_mask_path'], len(points), 'pts_instance_mask_path')
        labels = map_labels(semantic, results['seg_label_mapping'], results['pts_semantic_mask_path'])
        instances = map_instances(instance, labels, results['stuff_labels'])
        results.update(pts_semantic_mask=labels, pts_instance_mask=instances)
        if 'eval_ann_info' in results:
            results['eval_ann_info'].update(pts_semantic_mask=labels.copy(), pts_instance_mask=instances.copy())
        return results


@TRANSFORMS.register_module()
class SubsamplePoints(BaseTransform):
    """Keep a random share of the points, in their order; S3DIS trains on a quarter (SoftGroup, arXiv 2203.01509).

    Args:
        ratio: share, above 0 and at most 1.
    """

    def __init__(self, ratio: float = 0.25) -> None:
        if not 0 < ratio <= 1:
            raise ValueError(f'SubsamplePoints: ratio={ratio}, expected above 0 and at most 1')
        self.ratio = ratio

    def transform(self, results: dict) -> dict:
        """Draw the points; never fewer than two."""
        count = len(results['points'])
        kept = min(count, max(2, int(count * self.ratio)))
        return keep_points(results, np.sort(np.random.choice(count, kept, replace=False)))


@TRANSFORMS.register_module()
class NormalizeScene(BaseTransform):
    """Move the mean of the points to the origin and scale colours from 0..255 to -1..1.

    PointGroup's preparation does both for ScanNet; for S3DIS the centring is [inferred].
    """

    def transform(self, results: dict) -> dict:
        """Normalise a scene."""
        values = results['points'].tensor
        values[:, :3] -= values[:, :3].double().mean(0).float()
        values[:, 3:] = values[:, 3:] / 127.5 - 1
        return results


@TRANSFORMS.register_module()
class RandomLinearMap(BaseTransform):
    """PointGroup's jitter, flip and rotation in one matrix: xyz @ (I + noise) @ flip @ rotation about z.

    Args:
        jitter: standard deviation of the noise in each of the nine entries.
        flip_prob: probability that x changes its sign.
        rotation: range of the angle in radians. A range of one value is a fixed rotation, as SoftGroup's 0.35 pi at
            test; with `jitter=0, flip_prob=0` nothing is random then.
    """

    def __init__(self, jitter: float = 0.1, flip_prob: float = 0.5,
                 rotation: Sequence[float] = (0., 2 * np.pi)) -> None:
        if jitter < 0 or not 0 <= flip_prob <= 1 or len(rotation) != 2:
            raise ValueError(f'RandomLinearMap: jitter={jitter}, flip_prob={flip_prob}, rotation={rotation}; expected '
                             'jitter >= 0, a probability, and two angles')
        self.jitter, self.flip_prob, self.rotation = jitter, flip_prob, tuple(rotation)

    def matrix(self) -> np.ndarray:
        """Draw a matrix, (3, 3) float64, to be multiplied from the right."""
        noise = np.eye(3) + self.jitter * np.random.randn(3, 3)
        flip = np.diag([-1. if np.random.rand() < self.flip_prob else 1., 1., 1.])
        angle = np.random.uniform(*self.rotation)
        cos, sin = np.cos(angle), np.sin(angle)
        return noise @ flip @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])

    def transform(self, results: dict) -> dict:
        """Map the coordinates."""
        coords = _coords(results)
        coords[:] = coords @ self.matrix().astype(np.float32)
        return results


@TRANSFORMS.register_module()
class ColorShift(BaseTransform):
    """Add one normal draw to each colour channel of the whole scene.

    Args:
        std: standard deviation, on colours in -1..1.
    """

    def __init__(self, std: float = 0.1) -> None:
        self.std = std

    def transform(self, results: dict) -> dict:
        """Shift the colours."""
        results['points'].tensor[:, 3:] += torch.from_numpy(self.std * np.random.randn(3)).float()
        return results


@TRANSFORMS.register_module()
class ToVoxelGrid(BaseTransform):
    """Set `grid_coords`: coordinates divided by the voxel size.

    Args:
        voxel_size: metres; 0.02 in PointGroup and its successors.
    """

    def __init__(self, voxel_size: float = 0.02) -> None:
        if voxel_size <= 0:
            raise ValueError(f'ToVoxelGrid: voxel_size={voxel_size}, expected metres above 0')
        self.voxel_size = voxel_size

    def transform(self, results: dict) -> dict:
        """Scale the coordinates."""
        results['grid_coords'] = _coords(results) / np.float32(self.voxel_size)
        results['voxel_size'] = self.voxel_size
        return results


def elastic_field(coords: np.ndarray, granularity: int) -> np.ndarray:
    """A smooth random vector at each point, (N, 3) float32.

    Normal noise on a grid of 2 * `granularity` spacing around the origin, smoothed twice with a box of three along each
    axis, and interpolated linearly: PointGroup's `elastic`, whose grid spans (size - 1) * granularity to both sides.

    Args:
        coords: (N, 3) in voxels.
        granularity: half the spacing of the grid, in voxels.
    """
    size = np.abs(coords).max(0).astype(np.int64) // granularity + 3
    positions = (coords / granularity + (size - 1)).T / 2
    field = np.empty(coords.shape, dtype=np.float32)
    for channel in range(3):
        noise = np.random.randn(*size).astype(np.float32)
        for axis in (0, 1, 2, 0, 1, 2):
            noise = ndimage.uniform_filter1d(noise, 3, axis=axis, mode='constant')
        field[:, channel] = ndimage.map_coordinates(noise, positions, order=1, mode='constant')
    return field


@TRANSFORMS.register_module()
class ElasticDistortion(BaseTransform):
    """Elastic distortion of `grid_coords`.

    Args:
        granularity: half the grid spacing of each pass, in voxels.
        magnitude: factor of the noise of each pass, in voxels. The defaults are PointGroup's, for voxels of 2 cm.
    """

    def __init__(self, granularity: Sequence[int] = (6, 20), magnitude: Sequence[float] = (40., 160.)) -> None:
        if len(granularity) != len(magnitude) or min(granularity, default=1) < 1:
            raise ValueError(f'ElasticDistortion: granularity={granularity}, magnitude={magnitude}; expected as many '
                             'of both, granularity from 1 on')
        self.passes = tuple(zip(granularity, magnitude, strict=True))

    def transform(self, results: dict) -> dict:
        """Distort the voxel coordinates."""
        for granularity, magnitude in self.passes:
            coords = results['grid_coords']
            results['grid_coords'] = coords + elastic_field(coords, granularity) * np.float32(magnitude)
        return results


@TRANSFORMS.register_module()
class RandomVoxelCrop(BaseTransform):
    """Cut a large scene down to a window that holds few enough points and voxels.

    The window is placed at random; it shrinks in x and y until what is in it fits (PointGroup). A crop that holds too
    few points is drawn again, up to `tries` times (SoftGroup); then the scene is given up, and the data set draws
    another.

    Args:
        max_points: most points, or None.
        max_voxels: most occupied voxels, or None; what memory depends on.
        window: first size of the window in voxels, along each axis.
        step: by how much it shrinks; SoftGroup has 64 for S3DIS.
        min_points: fewest points of a crop. Scenes that fit as they are may be smaller.
        tries: crops that are drawn.
    """

    def __init__(self, max_points: int | None = 250_000, max_voxels: int | None = None, window: int = 512,
                 step: int = 32, min_points: int = 5000, tries: int = 5) -> None:
        if step < 1 or tries < 1 or window < 1:
            raise ValueError(f'RandomVoxelCrop: window={window}, step={step}, tries={tries}; expected 1 or more')
        self.max_points, self.max_voxels, self.window, self.step = max_points, max_voxels, window, step
        self.min_points, self.tries = min_points, tries

    def _fits(self, coords: np.ndarray) -> bool:
        if self.max_points is not None and len(coords) > self.max_points:
            return False
        if self.max_voxels is None or len(coords) <= self.max_voxels:
            return True
        return len(np.unique(voxel_keys(voxel_indices(coords)))) <= self.max_voxels

    def crop(self, coords: np.ndarray) -> np.ndarray:
        """Draw a crop: a mask of the points in it, (N,) bool. `coords` begin at 0 along each axis."""
        inside = np.ones(len(coords), dtype=bool)
        window = np.full(3, self.window, dtype=np.float32)
        while not self._fits(coords[inside]) and window[0] > 0:
            start = np.random.rand(3) * np.maximum(coords.max(0) - window + 0.001, 0)
            inside = ((coords >= start) & (coords < start + window)).all(1)
            window[:2] -= self.step
        return inside if self._fits(coords[inside]) else np.zeros(len(coords), dtype=bool)

    def transform(self, results: dict) -> dict | None:
        """Crop a scene; None if no crop has enough points."""
        coords = results['grid_coords'] - results['grid_coords'].min(0)
        if self._fits(coords):
            return results
        for _ in range(self.tries):
            inside = self.crop(coords)
            if inside.sum() >= max(self.min_points, 1):
                return keep_points(results, inside)
        return None


@TRANSFORMS.register_module()
class InterleavedParts(BaseTransform):
    """Have the network process a scene in parts: point i belongs to part i modulo `num_parts` (SoftGroup, S3DIS, test).

    Sets `num_parts` for the model; the points stay as they are, and grouping sees them all.

    Args:
        num_parts: number of parts.
    """

    def __init__(self, num_parts: int = 4) -> None:
        if num_parts < 1:
            raise ValueError(f'InterleavedParts: num_parts={num_parts}, expected 1 or more')
        self.num_parts = num_parts

    def transform(self, results: dict) -> dict:
        """Note the number of parts; no more than points."""
        results['num_parts'] = min(self.num_parts, len(results['points']))
        return results


def voxel_indices(coords: np.ndarray) -> np.ndarray:
    """Voxel of each point, (N, 3) int64 from 0 on; `coords` in voxels."""
    return np.floor(coords - coords.min(0)).astype(np.int64)


def voxel_keys(indices: np.ndarray) -> np.ndarray:
    """One number for each voxel, (N,) int64."""
    return np.ravel_multi_index(indices.T, indices.max(0) + 1)


@TRANSFORMS.register_module()
class PackGroupingInputs(BaseTransform):
    """Pack a scene for a grouping model.

    `inputs`: `points` (N, 6) float32, x, y, z in metres (augmented), colours in -1..1; `voxel_coords` (N, 3) int64 from
    0 on, the voxel of each point. `data_samples`: `gt_pts_seg` with `pts_semantic_mask` and `pts_instance_mask` (N,)
    int64, instances numbered without gaps, -1 for none, where the scene has masks; `eval_ann_info`; and metainfo.

    Args:
        meta_keys: what goes into the metainfo, where present; `num_parts` always does (1 without `InterleavedParts`).
    """

    def __init__(self, meta_keys: Sequence[str] = ('lidar_path', 'sample_idx', 'voxel_size', 'axis_align_matrix')
                 ) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        """Pack a scene."""
        sample = Det3DDataSample(metainfo=dict(
            num_parts=results.get('num_parts', 1),
            **{key: results[key] for key in self.meta_keys if key in results}))
        if 'pts_semantic_mask' in results:
            sample.gt_pts_seg = PointData(
                pts_semantic_mask=torch.from_numpy(results['pts_semantic_mask']),
                pts_instance_mask=torch.from_numpy(compact(results['pts_instance_mask'])))
        sample.eval_ann_info = results.get('eval_ann_info')
        inputs = dict(points=results['points'].tensor,
                      voxel_coords=torch.from_numpy(voxel_indices(results['grid_coords'])))
        return dict(inputs=inputs, data_samples=sample)
