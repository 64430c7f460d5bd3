"""The encoder of RGB-D segmentation: SegFormer's MiT (arXiv 2105.15203) with exchange of tokens (arXiv 2204.08721).

Rows of the paper's table 2 beside TokenFusion come from the same class: one modality alone (``used``), modalities that
do not meet before the ensemble (``fusion='none'``), and "Concat" (``fusion='concat'``), which is not described;
inferred: each stage's maps of all modalities are concatenated for the decoder, which then has one output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..encoder import FusionEncoder, Scored
from .checkpoints import load_encoder

_WIDE = (64, 128, 320, 512)
ARCHITECTURES = dict(
    b0=dict(embed_dims=(32, 64, 160, 256), depths=(2, 2, 2, 2)),
    b1=dict(embed_dims=_WIDE, depths=(2, 2, 2, 2)),
    b2=dict(embed_dims=_WIDE, depths=(3, 4, 6, 3)),
    b3=dict(embed_dims=_WIDE, depths=(3, 4, 18, 3)),
    b4=dict(embed_dims=_WIDE, depths=(3, 8, 27, 3)),
    b5=dict(embed_dims=_WIDE, depths=(3, 6, 40, 3)))
"""SegFormer's; the paper's Ti is b2, its S is b3."""
_SHARED = dict(num_heads=(1, 2, 5, 8), sr_ratios=(8, 4, 2, 1), kernels=(7, 3, 3, 3), strides=(4, 2, 2, 2))
FUSIONS = ('exchange', 'none', 'concat')


@MODELS.register_module()
class TokenFusionMiT(FusionEncoder):
    """MiT for several aligned images.

    Args:
        arch: 'b0' to 'b5', or a dict with ``embed_dims``, ``num_heads``, ``depths`` and whatever of ``sr_ratios``,
            ``kernels``, ``strides`` is not MiT's.
        modalities: Name and number of channels of each modality, in the order in which they lie in the input. One
            channel is repeated to three.
        used: Names of those to use; all by default.
        fusion: 'exchange', 'none' or 'concat'.
        scored: Blocks that exchange, 'all' or 'last' of each stage.
        init_cfg: ``dict(type='Pretrained', checkpoint=PATH)`` takes SegFormer's encoder in the official or mmseg's
            format, for all modalities alike, or a TokenFusion checkpoint, official or own.
        kwargs: Of ``FusionEncoder``.

    Attributes:
        outputs: Names of what the decoder decodes.
        out_channels: Widths of the stages' maps.

    Raises:
        ValueError: an unknown choice.
    """

    def __init__(self, arch: str | Mapping[str, Any] = 'b2', modalities: Mapping[str, int] | None = None,
                 used: Sequence[str] | None = None, fusion: str = 'exchange', scored: str = 'all',
                 init_cfg: dict | None = None, **kwargs) -> None:
        modalities = dict(modalities or dict(rgb=3, depth=1))
        used = tuple(modalities) if used is None else tuple(used)
        if not used or not set(used) <= set(modalities):
            raise ValueError(f'used={used}: expected names among {", ".join(modalities)}')
        if fusion not in FUSIONS:
            raise ValueError(f'fusion={fusion!r}: expected one of {", ".join(FUSIONS)}')
        if isinstance(arch, str) and arch not in ARCHITECTURES:
            raise ValueError(f'arch={arch!r}: expected one of {", ".join(ARCHITECTURES)}, or a dict of widths')
        settings = {**_SHARED, **(ARCHITECTURES[arch] if isinstance(arch, str) else arch), **kwargs}
        exchanges = fusion == 'exchange' and len(used) > 1
        super().__init__(num_modalities=len(used), scored=scored if exchanges else 'none', init_cfg=init_cfg,
                         **settings)
        self.in_channels, self.channels = settings.get('in_channels', 3), modalities
        self.used, self.concat = used, fusion == 'concat' and len(used) > 1
        self.outputs = ('fused',) if self.concat else used
        self.out_channels = [width * (len(used) if self.concat else 1) for width in settings['embed_dims']]

    def init_weights(self) -> None:
        """Random weights, and over them those of a checkpoint."""
        given = self.init_cfg
        pretrained = isinstance(given, Mapping) and given.get('type') == 'Pretrained'
        self.init_cfg = None if pretrained else given
        super().init_weights()
        self.init_cfg = given
        if pretrained:
            load_encoder(self, given['checkpoint'])

    def split(self, inputs: Tensor) -> Tensor:
        """The used modalities, (M, B, 3, H, W), of the input (B, C, H, W)."""
        if inputs.shape[1] != sum(self.channels.values()):
            raise ValueError(f'{inputs.shape[1]} input channels: expected {sum(self.channels.values())}, those of '
                             f'{self.channels} (modalities)')
        parts = dict(zip(self.channels, inputs.split(list(self.channels.values()), 1), strict=True))
        return torch.stack([parts[name].expand(-1, self.in_channels, -1, -1) for name in self.used])

    def forward(self, inputs: Tensor) -> tuple[list[Tensor], list[Scored]]:
        """Maps of each stage and scores, of the input (B, C, H, W).

        Returns:
            (M, B, C_i, H_i, W_i) each, or (1, B, M * C_i, H_i, W_i) for 'concat'; and as ``FusionEncoder``.
        """
        features, scored = super().forward(self.split(inputs))
        if self.concat:
            features = [maps.transpose(0, 1).flatten(1, 2)[None] for maps in features]
        return features, scored
