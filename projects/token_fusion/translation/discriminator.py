"""The discriminator of TokenFusion's image translation (arXiv 2204.08721): is each patch real, given the input?"""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional

from ..encoder import FusionEncoder
from ..mit_block import init_transformer
from .archs import arch_settings


@MODELS.register_module()
class TokenFusionDiscriminator(BaseModule):
    """The generator's encoder without exchange, and one number for each token of the last stage.

    Args:
        num_modalities: M; weights but norms are shared.
        arch: Name or sizes, see ``archs``. 'b2' is the official code's default, 'b0' fits the paper's appendix.
        in_channels: Channels of an input and of an image, together.
        encoder: More arguments of ``FusionEncoder``: ``mlp_ratio``, ``drop_path_rate``...
    """

    def __init__(self, num_modalities: int = 2, arch: str | dict = 'b2', in_channels: int = 6,
                 init_cfg: dict | None = None, **encoder) -> None:
        super().__init__(init_cfg)
        settings = arch_settings(arch)
        self.encoder = FusionEncoder(**settings, in_channels=in_channels, num_modalities=num_modalities,
                                     scored='none', **encoder)
        self.head = nn.Conv2d(settings['embed_dims'][-1], 1, 1)

    def init_weights(self) -> None:
        """Random weights of the official code."""
        init_transformer(self.head)
        super().init_weights()

    def forward(self, modalities: Tensor, images: Tensor) -> Tensor:
        """Logits of being real, (M, B, h, w), of inputs (M, B, C, H, W) and images of the same sizes."""
        features, _ = self.encoder(torch.cat([modalities, images], 2))
        return self.head(features[-1].flatten(0, 1)).squeeze(1).unflatten(0, modalities.shape[:2])


def adversarial_loss(logits: Tensor, real: bool) -> Tensor:
    """Binary cross entropy of logits (M, B, h, w) with 1 or 0: mean over each modality, summed over modalities."""
    return functional.softplus(-logits if real else logits).flatten(1).mean(1).sum()
