"""Metrics of image translation: `TranslationError` (MAE, MSE) and `FeatureDistance` (FID, KID).

Paper and official code of TokenFusion (arXiv 2204.08721) report FID and KID for RGB targets, MAE and MSE for others.
Officially, images reach the feature network through a plotting library, stretched to their own minimum and maximum at
500 x 500 pixels, and the generator stays in training mode; here they are the images themselves, in 8 bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS, MODELS
from torch import Tensor

from projects.runtime.errors import DataError

from .feature_distance import frechet_distance, kernel_distance_of_subsets


def truth_of(sample: dict) -> Tensor:
    """The target of a data sample; ``DataError`` without one."""
    if 'gt_img' not in sample:
        raise DataError(f'{sample["key"]}: no target to compare with: set dataset.target, or test without an evaluator')
    return sample['gt_img']


@METRICS.register_module()
class TranslationError(BaseMetric):
    """Mean absolute and mean squared error on the scale -1..1, mean over images of each image's mean.

    Keys: ``MAE`` and ``MSE`` of the ensemble, ``MAE_<branch>`` and ``MSE_<branch>`` of each branch (where there are
    two and more). The paper's table multiplies both by 10. ``save_best='MAE'`` needs ``rule='less'``.

    Args:
        collect_device, prefix, collect_dir: As for mmengine's ``BaseMetric``.
    """

    default_prefix = ''  # None would make mmengine warn

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Errors of a batch: one row of ensemble and branches for each image."""
        for sample in data_samples:
            difference = torch.cat([sample['pred_img'][None], sample['pred_branches']]).double() - truth_of(sample)
            flat = difference.flatten(1)
            errors = torch.stack([flat.abs().mean(1), flat.square().mean(1)]).cpu().numpy()
            self.results.append((sample['branches'], errors))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Means over all images."""
        branches = results[0][0]
        means = np.mean([errors for _, errors in results], 0)  # (2, 1 + M)
        columns = ['', *(f'_{name}' for name in branches)] if len(branches) > 1 else ['']
        return {f'{kind}{column}': float(means[row, index]) for row, kind in enumerate(('MAE', 'MSE'))
                for index, column in enumerate(columns)}


@METRICS.register_module()
class FeatureDistance(BaseMetric):
    """``FID``, and ``KID`` times 100, between the images that are made and their targets.

    Args:
        features: Feature network, (B, 3, H, W), uint8, to (B, D); see ``feature_nets``. The default asks for a file.
        image: 'ensemble', or the name of a branch.
        kid_subsets, kid_subset_size: See ``kernel_distance_of_subsets``; the official numbers.
        seed: Of the subsets.
        collect_device, prefix, collect_dir: As for mmengine's ``BaseMetric``.
    """

    default_prefix = ''

    def __init__(self, features: dict | None = None, image: str = 'ensemble', kid_subsets: int = 50,
                 kid_subset_size: int = 1000, seed: int = 0, collect_device: str = 'cpu', prefix: str | None = None,
                 collect_dir: str | None = None) -> None:
        super().__init__(collect_device, prefix, collect_dir)
        self.network = MODELS.build(features or dict(type='TorchScriptFeatures')).eval()
        self.image, self.seed = image, seed
        self.kid_subsets, self.kid_subset_size = kid_subsets, kid_subset_size

    def prediction(self, sample: dict) -> Tensor:
        """The image that is judged.

        Raises:
            DataError: there is no such branch.
        """
        if self.image == 'ensemble':
            return sample['pred_img']
        if self.image not in sample['branches']:
            raise DataError(f"FeatureDistance.image={self.image!r}: expected 'ensemble' or one of "
                            f'{", ".join(sample["branches"])}')
        return sample['pred_branches'][sample['branches'].index(self.image)]

    @torch.no_grad()
    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Features of a batch: one pair for each image."""
        images = torch.stack([self.prediction(sample) for sample in data_samples]
                             + [truth_of(sample) for sample in data_samples])
        images = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        features = self.network.to(images.device)(images).float().cpu().numpy()
        self.results.extend(zip(*np.split(features, 2), strict=True))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Distances of all images' features."""
        made, real = (np.stack(features) for features in zip(*results, strict=True))
        if len(made) < 2:
            raise DataError(f'FeatureDistance: {len(made)} image in the test set, expected 2 or more')
        return dict(FID=frechet_distance(made, real), KID=100 * kernel_distance_of_subsets(
            made, real, self.kid_subsets, self.kid_subset_size, self.seed))
