"""From loaded images to what the translator takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS
from torch import Tensor

from projects.runtime.errors import ConfigError


@MODELS.register_module()
class TranslationDataPreprocessor(BaseDataPreprocessor):
    """Stacks the inputs' images and brings them and the targets to -1..1.

    Args:
        inputs: Domains that the model takes, in its order.
        non_blocking: Whether copies to the GPU overlap with computation.
    """

    def __init__(self, inputs: Sequence[str], non_blocking: bool = False) -> None:
        super().__init__(non_blocking)
        self.inputs = tuple(inputs)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a batch.

        Args:
            data: ``inputs``, for each domain a list of images (3, H, W), uint8, and ``data_samples``, a list of
                ``TranslationSample``.
            training: Unused; both ways are the same.

        Returns:
            ``inputs``, float (M, B, 3, H, W), and ``data_samples`` with ``gt_img`` alike.

        Raises:
            ConfigError: the data set loads no such domain.
        """
        data = self.cast_data(data)
        images, samples = data['inputs'], data['data_samples']
        if absent := [name for name in self.inputs if name not in images]:
            raise ConfigError(f'model.inputs: {", ".join(absent)} is not loaded; the data set loads '
                              f'{", ".join(images)} (dataset.inputs)')
        for sample in samples:
            if 'gt_img' in sample:
                sample.gt_img = self.normalize(sample.gt_img)
        stacked = torch.stack([torch.stack(list(images[name])) for name in self.inputs])
        return dict(inputs=self.normalize(stacked), data_samples=samples)

    @staticmethod
    def normalize(images: Tensor) -> Tensor:
        """0..255 to -1..1, float32."""
        return images.float() / 127.5 - 1
