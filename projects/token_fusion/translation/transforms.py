"""Transforms of aligned images: `results['images']` holds an image H x W x 3, uint8, RGB, for each domain.

Sizes and steps are those of TokenFusion's official code (arXiv 2204.08721). Its random crop may begin one pixel too
far, which leaves a black line; here it does not. Normals are mirrored as images, without turning their x component, as
there.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmengine.registry import TRANSFORMS

from projects.runtime.errors import DataError

from .domains import read_domain
from .sample import TranslationSample


@TRANSFORMS.register_module()
class LoadTaskonomyImages(BaseTransform):
    """Read ``results['paths']`` into ``results['images']``.

    Args:
        use_cache: Keep decoded images in memory (of each worker process); for small sets.
        backend_args: Of mmengine's storage backend.

    Raises:
        DataError: a file cannot be read, or the domains of a scene differ in size.
    """

    def __init__(self, use_cache: bool = False, backend_args: dict | None = None) -> None:
        self.cache, self.backend_args = {} if use_cache else None, backend_args

    def _read(self, path: str, domain: str) -> np.ndarray:
        if self.cache is None:
            return read_domain(path, domain, self.backend_args)
        if path not in self.cache:
            self.cache[path] = read_domain(path, domain, self.backend_args)
        return self.cache[path]

    def transform(self, results: dict) -> dict:
        paths = results['paths']
        images = {domain: self._read(path, domain) for domain, path in paths.items()}
        sizes = {domain: image.shape[:2] for domain, image in images.items()}
        if len(set(sizes.values())) > 1:
            listed = ', '.join(f'{paths[domain]}: {height} x {width}' for domain, (height, width) in sizes.items())
            raise DataError(f'images of one scene differ in height and width: {listed}. Expected aligned images of one '
                            'size')
        results['images'] = images
        return results


@TRANSFORMS.register_module()
class TaskonomyResize(BaseTransform):
    """Bilinear resize.

    Args:
        size: New side of a square (``keep_ratio=False``), or of the shorter side.
        keep_ratio: Whether the longer side follows.
    """

    def __init__(self, size: int, keep_ratio: bool = False) -> None:
        self.size, self.keep_ratio = size, keep_ratio

    def transform(self, results: dict) -> dict:
        for domain, image in results['images'].items():
            height, width = image.shape[:2]
            factor = self.size / min(height, width)
            size = (round(width * factor), round(height * factor)) if self.keep_ratio else (self.size, self.size)
            if size != (width, height):
                results['images'][domain] = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        return results


@TRANSFORMS.register_module()
class TaskonomyRandomCrop(BaseTransform):
    """Cut the same random square out of all domains.

    Args:
        size: Side in pixels.

    Raises:
        DataError: an image is smaller.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    @cache_randomness
    def corner(self, height: int, width: int) -> tuple[int, int]:
        """Top and left of the square."""
        return tuple(int(np.random.randint(side - self.size + 1)) for side in (height, width))

    def transform(self, results: dict) -> dict:
        height, width = next(iter(results['images'].values())).shape[:2]
        if min(height, width) < self.size:
            raise DataError(f'{results["key"]}: {height} x {width} pixels, expected at least {self.size} on each side; '
                            'put a TaskonomyResize before TaskonomyRandomCrop')
        top, left = self.corner(height, width)
        for domain, image in results['images'].items():
            results['images'][domain] = image[top:top + self.size, left:left + self.size]
        return results


@TRANSFORMS.register_module()
class TaskonomyFlip(BaseTransform):
    """Mirror all domains, left to right.

    Args:
        prob: How often.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    @cache_randomness
    def flips(self) -> bool:
        """Whether this time."""
        return np.random.rand() < self.prob

    def transform(self, results: dict) -> dict:
        if self.flips():
            results['images'] = {domain: image[:, ::-1] for domain, image in results['images'].items()}
        return results


@TRANSFORMS.register_module()
class PackTranslationInputs(BaseTransform):
    """To tensors: ``inputs``, for each domain (3, H, W), uint8, and ``data_samples``, a ``TranslationSample``."""

    def transform(self, results: dict) -> dict:
        images = {domain: torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
                  for domain, image in results['images'].items()}
        target = results['target']
        sample = TranslationSample(metainfo=dict(key=results['key'], target=target))
        if target is not None:
            sample.gt_img = images.pop(target)
        return dict(inputs=images, data_samples=sample)
