"""Transforms of classification samples."""

import numpy as np
import torch
from mmcv.transforms import BaseTransform, to_tensor
from mmcv.transforms.utils import cache_randomness
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomAreaCrop(BaseTransform):
    """Crop of random area and aspect ratio (Inception's, arXiv 1409.4842).

    Args:
        area (tuple[float, float]): share of the image's area.
        ratio (tuple[float, float]): width over height.
        attempts (int): before the whole image is taken.
    """

    def __init__(self, area: tuple[float, float] = (0.08, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3),
                 attempts: int = 10) -> None:
        self.area, self.ratio, self.attempts = area, ratio, attempts

    @cache_randomness
    def box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """(top, left, height, width) of a random crop."""
        for _ in range(self.attempts):
            area = height * width * np.random.uniform(*self.area)
            ratio = np.exp(np.random.uniform(*np.log(self.ratio)))
            crop_height, crop_width = round(np.sqrt(area / ratio)), round(np.sqrt(area * ratio))
            if 0 < crop_height <= height and 0 < crop_width <= width:
                top = np.random.randint(0, height - crop_height + 1)
                return top, np.random.randint(0, width - crop_width + 1), crop_height, crop_width
        return 0, 0, height, width

    def transform(self, results: dict) -> dict:
        """Crop `img`."""
        top, left, height, width = self.box(*results['img'].shape[:2])
        results['img'] = results['img'][top:top + height, left:left + width]
        results['img_shape'] = (height, width)
        return results


@TRANSFORMS.register_module()
class PackClsInputs(BaseTransform):
    """`img` and `gt_label` as a sample for `default_collate`: `inputs`, uint8 3 x H x W in BGR order, and `labels`."""

    def transform(self, results: dict) -> dict[str, torch.Tensor]:
        """Pack a sample."""
        image = np.ascontiguousarray(results['img'].transpose(2, 0, 1))
        return dict(inputs=to_tensor(image), labels=torch.tensor(results['gt_label']))
