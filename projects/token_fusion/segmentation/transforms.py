"""Transforms of images with depth maps.

``depth`` (H x W, float32, metres, 0 where nothing was measured) is one of mmseg's ``seg_fields``: its Resize,
RandomFlip and RandomCrop treat it as they treat masks, with nearest neighbour. What they lack is here; the recipe is
that of the TokenFusion code (arXiv 2204.08721).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS
from PIL import Image

from .errors import RGBDDataError

FARTHEST, NEAREST = 20., 0.05
"""Metres: if all pixels are farther, or half of them nearer, the unit is wrong."""
_STRIDE = 4  # of the pixels whose values are looked at


def shape_text(shape: Sequence[int]) -> str:
    """Height and width for a message."""
    return f'{shape[0]} x {shape[1]} (height x width)'


def resized(field: np.ndarray, size: tuple[int, int], interpolation: int = cv2.INTER_NEAREST) -> np.ndarray:
    """A field of height and width ``size``."""
    return cv2.resize(field, size[::-1], interpolation=interpolation)


@TRANSFORMS.register_module()
class LoadDepthFromFile(BaseTransform):
    """Reads the 16-bit depth map of an image.

    Required keys: ``img``, ``img_path``, and ``depth_path`` where the data set knows it; else the map is looked for
    beside the image, in the folder ``depth`` instead of ``rgb``. Added keys: ``depth``, ``depth_path``, and 'depth' in
    ``seg_fields``.

    Args:
        depth_scale: Numbers in the file to a metre: 5000 in the prepared NYUv2, 1000 for millimetres.
        resize: Bring maps of another size than the image to it, by nearest neighbour; else they are an error.
        folders: Names of the folders of images and depth maps.
        max_depth: Metres; farther measurements count as missing.

    Raises:
        RGBDDataError: the file is missing, no image, not 16 bits deep, of another size than the image, or its values
            are no metres with this scale.
    """

    def __init__(self, depth_scale: float = 5000., resize: bool = False, folders: Sequence[str] = ('rgb', 'depth'),
                 max_depth: float | None = None) -> None:
        self.depth_scale, self.resize, self.folders, self.max_depth = depth_scale, resize, tuple(folders), max_depth

    def beside(self, image: str) -> str:
        """Path of the depth map that belongs to an image."""
        folder, name = os.path.split(image)
        parent, last = os.path.split(folder)
        if last != self.folders[0]:
            raise RGBDDataError(f'{image}: it is not known where its depth map is. Expected the image in a folder '
                                f'named {self.folders[0]}/, beside {self.folders[1]}/ with a file of the same name')
        return os.path.join(parent, self.folders[1], os.path.splitext(name)[0] + '.png')

    def read(self, path: str) -> np.ndarray:
        """The file's numbers, (H, W) of uint16."""
        if not os.path.isfile(path):
            raise RGBDDataError(f'{path}: no such depth map')
        raw = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        if raw is None:
            raise RGBDDataError(f'{path}: cannot be decoded as an image. Copy or convert it again')
        if raw.dtype != np.uint16 or raw.ndim != 2:
            raise RGBDDataError(f'{path}: {raw.dtype} with {1 if raw.ndim == 2 else raw.shape[2]} channels. Expected a '
                                'grey image of 16 bits, the distance times depth_scale; a picture of a depth map in 8 '
                                'bits has lost it')
        return raw

    def check_unit(self, depth: np.ndarray, path: str) -> None:
        """Whether values can be metres."""
        sample = depth[::_STRIDE, ::_STRIDE]
        known = sample[sample > 0]
        if known.size and (known.min() > FARTHEST or np.median(known) < NEAREST):
            raise RGBDDataError(
                f'{path}: with depth_scale={self.depth_scale:g} its distances go from {known.min():.3g} to '
                f'{known.max():.3g} metres. Set depth_scale in the LoadDepthFromFile steps to the numbers in the file '
                'that make a metre (5000 in the prepared NYUv2, 1000 for millimetres)')

    def transform(self, results: dict) -> dict:
        """Add the depth map."""
        path = results.get('depth_path') or self.beside(results['img_path'])
        depth = self.read(path).astype(np.float32) / self.depth_scale
        self.check_unit(depth, path)
        if self.max_depth is not None:
            depth[depth > self.max_depth] = 0
        shape = results['img'].shape[:2]
        if depth.shape != shape:
            if not self.resize:
                raise RGBDDataError(f'{path}: {shape_text(depth.shape)}, but {results["img_path"]} has '
                                    f'{shape_text(shape)}. Align them, or set resize=True in LoadDepthFromFile')
            depth = resized(depth, shape)
        results['depth'], results['depth_path'] = depth, path
        results.setdefault('seg_fields', []).append('depth')
        return results


@TRANSFORMS.register_module()
class FitToMask(BaseTransform):
    """Brings image and depth map to the size of the mask.

    The masks of the prepared NYUv2 lack the camera's white frame: 468 x 625 of 480 x 640 pixels. The size is taken from
    the mask file's header, so that this can stand before LoadAnnotations, and masks are measured as they are behind
    flips and scales of a test. Without a mask nothing happens.

    Args:
        method: 'crop', centrally; an odd row or column goes at the bottom and right; or 'resize' (image bicubic, depth
            map nearest neighbour).
        max_crop: Largest share of a side that 'crop' may cut off.

    Raises:
        RGBDDataError: the mask cannot be read, or is not the image without a narrow frame.
    """

    def __init__(self, method: str = 'crop', max_crop: float = 0.1) -> None:
        if method not in ('crop', 'resize'):
            raise ValueError(f"method {method!r}: expected 'crop' or 'resize'")
        self.method, self.max_crop = method, max_crop

    def size(self, path: str) -> tuple[int, int]:
        """Height and width of a mask."""
        try:
            with Image.open(path) as mask:
                return mask.height, mask.width
        except OSError as error:
            raise RGBDDataError(f'{path}: cannot be read as a mask ({error})') from error

    def box(self, shape: tuple[int, int], size: tuple[int, int], results: dict) -> tuple[slice, slice]:
        """Rows and columns of the central crop."""
        over = [have - want for have, want in zip(shape, size, strict=True)]
        if min(over) < 0 or any(more > self.max_crop * have for more, have in zip(over, shape, strict=True)):
            raise RGBDDataError(
                f'{results["seg_map_path"]}: {shape_text(size)}, but {results["img_path"]} has {shape_text(shape)}. '
                f'Expected the same size, or a frame of at most {self.max_crop:.0%} less; set method="resize" in '
                'FitToMask if they show the same at different scales')
        return tuple(slice(more // 2, more // 2 + want) for more, want in zip(over, size, strict=True))

    def transform(self, results: dict) -> dict:
        """Crop or resize ``img`` and ``depth``; the original shape becomes that of the mask."""
        if not results.get('seg_map_path'):
            return results
        shape, size = results['img'].shape[:2], self.size(results['seg_map_path'])
        if shape != size:
            if self.method == 'resize':
                results['img'] = resized(results['img'], size, cv2.INTER_CUBIC)
                results['depth'] = resized(results['depth'], size)
            else:
                box = self.box(shape, size, results)
                results['img'], results['depth'] = results['img'][box], results['depth'][box]
        results['img_shape'] = results['ori_shape'] = size
        return results


@TRANSFORMS.register_module()
class RandomRGBDScale(BaseTransform):
    """A random factor for image (bicubic), depth map and mask (nearest neighbour).

    Args:
        ratio_range: Of the factor.
        min_side: A factor that would make the shorter side shorter than this is raised to it; 350 in the official code.
    """

    def __init__(self, ratio_range: tuple[float, float] = (0.5, 2.0), min_side: int = 350) -> None:
        self.ratio_range, self.min_side = ratio_range, min_side

    @cache_randomness
    def factor(self) -> float:
        """A draw."""
        return np.random.uniform(*self.ratio_range)

    def transform(self, results: dict) -> dict:
        """Scale ``img`` and all fields."""
        shape = results['img'].shape[:2]
        factor = max(self.factor(), self.min_side / min(shape))
        size = tuple(round(side * factor) for side in shape)
        results['img'] = resized(results['img'], size, cv2.INTER_CUBIC)
        for key in results['seg_fields']:
            results[key] = resized(results[key], size)
        results['img_shape'], results['scale_factor'] = size, (factor, factor)
        return results


@TRANSFORMS.register_module()
class PadRGBD(BaseTransform):
    """Pads on all sides alike until both sides have a minimum, mmcv's Pad knows no depth maps.

    Args:
        size: Minimum height and width.
        value: Of the image, BGR.
        depth_value: Metres. The official code pads with the image's numbers in raw units, about 0.023; 0, missing, is
            meant (inferred).
        mask_value: Of the mask.
    """

    def __init__(self, size: tuple[int, int], value: Sequence[float] = (103.53, 116.28, 123.675),
                 depth_value: float = 0., mask_value: int = 255) -> None:
        self.size, self.value, self.values = size, tuple(value), dict(depth=depth_value, gt_seg_map=mask_value)

    def transform(self, results: dict) -> dict:
        """Pad ``img``, ``depth`` and ``gt_seg_map``."""
        shape = results['img'].shape[:2]
        add = [max(want - have, 0) for have, want in zip(shape, self.size, strict=True)]
        if any(add):
            sides = (add[0] // 2, add[0] - add[0] // 2, add[1] // 2, add[1] - add[1] // 2)
            results['img'] = cv2.copyMakeBorder(results['img'], *sides, cv2.BORDER_CONSTANT, value=self.value)
            for key in results['seg_fields']:
                results[key] = cv2.copyMakeBorder(results[key], *sides, cv2.BORDER_CONSTANT, value=self.values[key])
        results['img_shape'] = results['pad_shape'] = results['img'].shape[:2]
        return results


@TRANSFORMS.register_module()
class PackRGBDInputs(PackSegInputs):
    """A sample for the model: ``inputs``, (C, H, W) of float32, one modality behind the other, and a data sample.

    Colour images become RGB, 0..255; what mmseg's preprocessor subtracts and divides by has C numbers.

    Args:
        keys: Of the modalities, (H, W, 3) in BGR order or (H, W).
        meta_keys: Kept in the data sample.

    Raises:
        RGBDDataError: modalities of different sizes.
    """

    META_KEYS = ('img_path', 'depth_path', 'seg_map_path', 'ori_shape', 'img_shape', 'pad_shape', 'scale_factor',
                 'flip', 'flip_direction', 'reduce_zero_label')

    def __init__(self, keys: Sequence[str] = ('img', 'depth'), meta_keys: Sequence[str] = META_KEYS) -> None:
        super().__init__(meta_keys)
        self.keys = tuple(keys)

    def transform(self, results: dict) -> dict:
        """Pack a sample."""
        fields = [results[key] for key in self.keys]
        if len({field.shape[:2] for field in fields}) != 1:
            sizes = ', '.join(f'{key} {shape_text(results[key].shape)}' for key in self.keys)
            raise RGBDDataError(f'{results["img_path"]}: modalities of different sizes: {sizes}')
        planes = [field[..., ::-1].transpose(2, 0, 1) if field.ndim == 3 else field[None] for field in fields]
        inputs = np.empty((sum(map(len, planes)), *fields[0].shape[:2]), dtype=np.float32)
        np.concatenate(planes, out=inputs, casting='unsafe')
        packed = super().transform({key: value for key, value in results.items() if key != 'img'})
        return dict(inputs=torch.from_numpy(inputs), data_samples=packed['data_samples'])
