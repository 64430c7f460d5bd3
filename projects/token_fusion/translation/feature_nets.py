"""Networks whose features the FID and KID compare. None has weights of its own that would make numbers comparable.

Published FIDs use Inception-v3 with the weights of 2015-12-05, its 2048 pooled features. The suite neither holds nor
downloads them: a TorchScript file of that network is given by its path.
"""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional

from projects.runtime.errors import CheckpointError, ConfigError


@MODELS.register_module()
class TorchScriptFeatures(nn.Module):
    """A feature network stored as TorchScript, such as the Inception-v3 of the published FIDs.

    Args:
        path: File written by ``torch.jit.save``. The usual one, ``inception-2015-12-05.pt``, resizes by itself and
            takes 0..255: ``size=None, value_range=(0, 255), forward_args=dict(return_features=True)``.
        size: Images are resized to this side, bilinearly; None leaves them.
        value_range: Values of black and white that the network takes.
        forward_args: Further arguments of its ``forward``.

    Raises:
        ConfigError: no path.
        CheckpointError: the file is missing or not TorchScript.
    """

    def __init__(self, path: str | None = None, size: int | None = 299, value_range: tuple[float, float] = (-1, 1),
                 forward_args: dict | None = None) -> None:
        super().__init__()
        if path is None:
            raise ConfigError(
                'FID and KID need a feature network, whose weights are not part of the suite. Give the path of a '
                'TorchScript file of Inception-v3 (2015-12-05, 2048 features): '
                '--cfg-options val_evaluator.0.features.path=FILE test_evaluator.0.features.path=FILE. Without it '
                'leave the metric out, or take features=dict(type="RandomConvFeatures"), whose numbers compare with '
                'nothing')
        if not Path(path).is_file():
            raise CheckpointError(f'{path}: no such file; expected TorchScript of a feature network (features.path)')
        try:
            self.network = torch.jit.load(path, map_location='cpu').eval()
        except RuntimeError as error:
            raise CheckpointError(f'{path}: not a TorchScript file ({str(error).splitlines()[0]}); expected what '
                                  'torch.jit.save writes, not a state_dict') from error
        self.size, self.value_range, self.forward_args = size, tuple(value_range), dict(forward_args or {})

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, D) of images (B, 3, H, W), uint8."""
        low, high = self.value_range
        images = images.float()
        if self.size is not None and images.shape[-2:] != (self.size, self.size):
            images = functional.interpolate(images, (self.size, self.size), mode='bilinear', align_corners=False)
        return self.network(images / 255 * (high - low) + low, **self.forward_args).flatten(1)


@MODELS.register_module()
class RandomConvFeatures(nn.Module):
    """A small fixed convolutional network with random weights, for mini data without Inception weights.

    Its distances rank models on one data set roughly; they compare with no published number.

    Args:
        channels: Width of each layer; the last one is that of the features.
        seed: Of the weights.
    """

    def __init__(self, channels: tuple[int, ...] = (16, 32, 64), seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        widths = (3, *channels)
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(after, before, 3, 3, generator=generator) * (2 / (9 * before)) ** 0.5, False)
            for before, after in zip(widths, channels, strict=False))

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, D) of images (B, 3, H, W), uint8."""
        maps = images.float() / 127.5 - 1
        for weight in self.weights:
            maps = functional.conv2d(maps, weight, stride=2, padding=1).relu()
        return maps.mean((2, 3))
