"""Data sets of points with images: mmdet3d's SUN RGB-D and ScanNet, with what they lack for TokenFusion.

SUN RGB-D: samples without objects have empty 2D boxes (the parent leaves the key out), and an error names the sample
whose calibration is missing. ScanNet: ``images`` of the info file have one entry for each frame with ``img_path``,
``height``, ``width`` and ``depth2img`` (4, 4) from aligned points to pixels;
``tools/dataset_converters/scannet_frames_to_mmdet3d.py`` adds them.
"""

from __future__ import annotations

import os.path

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.datasets import PointSample, ScanNetDataset, SUNRGBDDataset
from mmdet3d.registry import DATASETS, TRANSFORMS

from .errors import CalibrationError


def check_camera(sample: str, camera: str, info: dict, shape: tuple[int, int], converter: str) -> None:
    """Raise ``CalibrationError`` unless a camera of an info file has its image and matrix.

    Args:
        sample: Name of the point file, for the message.
        camera: Key below ``images``.
        info: Its entry.
        shape: Expected shape of ``depth2img``.
        converter: What writes the info file.
    """
    for key in ('img_path', 'depth2img'):
        if info.get(key) is None:
            raise CalibrationError(f"{sample}: 'images.{camera}.{key}' is missing in the info file. It is needed to "
                                   f'project points into the image; write the file anew with {converter}.')
    if np.shape(info['depth2img']) != shape:
        raise CalibrationError(f"{sample}: 'images.{camera}.depth2img' has shape {np.shape(info['depth2img'])}, "
                               f'expected {shape}. Write the file anew with {converter}.')


@DATASETS.register_module()
class SUNRGBDImageDataset(SUNRGBDDataset):
    """SUN RGB-D with images; arguments are the parent's."""

    CONVERTER = "mmdet3d's tools/create_data.py sunrgbd"

    def parse_data_info(self, info: dict) -> dict:
        """The parent's, with ``lidar_path`` for messages and pictures."""
        sample = info['lidar_points']['lidar_path']
        camera = self.default_cam_key
        if self.modality['use_camera']:
            check_camera(sample, camera, info.get('images', {}).get(camera, {}), (3, 3), self.CONVERTER)
        info = super().parse_data_info(info)
        info['lidar_path'] = info['lidar_points']['lidar_path']
        return info

    def parse_ann_info(self, info: dict) -> dict:
        """The parent's; without objects, 2D boxes and labels are empty arrays."""
        found = super().parse_ann_info(info)
        found.setdefault('gt_bboxes', np.zeros((0, 4), np.float32))
        found.setdefault('gt_bboxes_labels', np.zeros(0, np.int64))
        return found


@DATASETS.register_module()
class ScanNetViewsDataset(ScanNetDataset):
    """ScanNet with posed frames; arguments are the parent's."""

    CONVERTER = 'tools/dataset_converters/scannet_frames_to_mmdet3d.py'

    def parse_data_info(self, info: dict) -> dict:
        """The parent's, with ``views``: file and matrix (4, 4) of each frame, by the cameras' names."""
        sample, cameras = info['lidar_points']['lidar_path'], info.get('images') or {}
        if not cameras:
            raise CalibrationError(f"{sample}: 'images' is missing in the info file, so that there are no frames. "
                                   f"Write the file anew with {self.CONVERTER}, or set model.fusion_mode='none' and "
                                   'use the data set ScanNetDataset.')
        for camera, entry in cameras.items():
            check_camera(sample, camera, entry, (4, 4), self.CONVERTER)
        info['views'] = [(os.path.join(self.data_prefix.get('img', ''), entry['img_path']),
                          np.array(entry['depth2img'], np.float32)) for entry in cameras.values()]
        info['images'] = {}  # what packs a sample would look for its keys there
        return super().parse_data_info(info)


@TRANSFORMS.register_module()
class LoadViews(BaseTransform):
    """Loads a fixed number of a scene's frames in one size; fewer frames are repeated.

    Adds ``img`` (list of (H, W, 3) BGR), ``img_path``, ``depth2img`` (views, 4, 4) to pixels of the resized frames,
    ``img_shape`` and ``ori_shape``.

    Args:
        num_views: Frames of a sample; the paper has 10.
        scale: Width and height that frames are resized to.
        random: Draw frames at random (training); else they are taken at equal distances.
    """

    def __init__(self, num_views: int = 10, scale: tuple[int, int] = (730, 530), random: bool = False) -> None:
        self.num_views, self.scale, self.random = num_views, tuple(scale), random

    def transform(self, results: dict) -> dict:
        """See the class."""
        import mmcv

        images, matrices, paths = [], [], []
        for number in self.chosen(len(results['views'])):
            path, matrix = results['views'][number]
            image = mmcv.imread(path)
            ratio = np.array(self.scale) / image.shape[1::-1]
            images.append(mmcv.imresize(image, self.scale))
            matrices.append(np.diag([*ratio, 1, 1]).astype(np.float32) @ matrix)
            paths.append(path)
        results.update(img=images, img_path=paths, depth2img=np.stack(matrices), ori_shape=image.shape[:2],
                       img_shape=self.scale[::-1])
        return results

    def chosen(self, count: int) -> np.ndarray:
        """Numbers of the frames, (num_views,)."""
        if self.random and count >= self.num_views:
            return np.sort(np.random.choice(count, self.num_views, replace=False))
        if count >= self.num_views:
            return np.linspace(0, count - 1, self.num_views).round().astype(int)
        return np.arange(self.num_views) % count

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_views={self.num_views}, scale={self.scale}, random={self.random})'


@TRANSFORMS.register_module()
class FixedPointSample(PointSample):
    """Samples the same points of a sample whenever it is asked for: figures of a test do not depend on the order or the
    number of processes. The parent draws anew each time."""

    def transform(self, input_dict: dict) -> dict:
        """See the class; the seed is the sample's index in the data set."""
        points = input_dict['points']
        rng = np.random.default_rng(int(input_dict.get('sample_idx', 0)))
        chosen = rng.choice(len(points), self.num_points, replace=len(points) < self.num_points)
        input_dict['points'] = points[chosen]
        for key in ('pts_instance_mask', 'pts_semantic_mask'):
            if input_dict.get(key) is not None:
                input_dict[key] = input_dict[key][chosen]
        return input_dict
