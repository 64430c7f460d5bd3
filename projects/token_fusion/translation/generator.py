"""The generator of TokenFusion's image translation (arXiv 2204.08721): encoder with exchange of tokens, and decoder.

Weights but norms are shared by the modalities, unless ``shared_layers`` is False. As in the official code, and other
than in the paper, only the last block of each encoder stage has scores and exchange (``scored='last'``); the decoder
has none. The official upsampling holds a norm that it never calls; it is left out here.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule, ModuleList
from mmengine.registry import MODELS
from torch import Tensor, nn

from projects.runtime.errors import ConfigError, DataError

from ..encoder import FusionEncoder, Scored
from ..mit_block import FusionBlock, drop_path_rates, init_transformer, to_maps, to_tokens
from ..modality_layers import DEFAULT_SHARING, LearnedEnsemble, ModalityLayerNorm, Sharing
from .archs import arch_settings


class PatchUpsample(nn.Module):
    """Twice the resolution: pixel shuffle, then a 1x1 convolution.

    Args:
        in_channels: A multiple of 4.
        channels: Width behind it.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        if in_channels % 4:
            raise ConfigError(f'embed_dims: {in_channels} is no multiple of 4, which pixel shuffle needs')
        self.shuffle = nn.PixelShuffle(2)
        self.proj = nn.Conv2d(in_channels // 4, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (M, B, C', 2h, 2w) of maps (M, B, C, h, w)."""
        return self.proj(self.shuffle(maps.flatten(0, 1))).unflatten(0, maps.shape[:2])


class DecoderStage(BaseModule):
    """Upsampling, addition of the encoder's map, blocks without exchange, and a norm.

    Args:
        num_modalities: M.
        in_channels, channels: Widths before and in the stage.
        num_heads, sr_ratio, mlp_ratio, sharing: Of the blocks.
        drop_paths: Rate of each block.
    """

    def __init__(self, num_modalities: int, in_channels: int, channels: int, num_heads: int, sr_ratio: int,
                 mlp_ratio: float, drop_paths: Sequence[float], sharing: Sharing = DEFAULT_SHARING) -> None:
        super().__init__()
        self.upsample = PatchUpsample(in_channels, channels)
        self.blocks = nn.ModuleList(FusionBlock(num_modalities, channels, num_heads, sr_ratio, mlp_ratio, rate,
                                                sharing) for rate in drop_paths)
        self.norm = ModalityLayerNorm(num_modalities, channels, shared=sharing.norm)

    def init_weights(self) -> None:
        """Random weights of the official code."""
        init_transformer(self)
        super().init_weights()

    def forward(self, maps: Tensor, skip: Tensor) -> Tensor:
        """(M, B, C, 2h, 2w) of maps (M, B, C', h, w) and the encoder's map, (M, B, C, 2h, 2w)."""
        maps = self.upsample(maps) + skip
        grid = maps.shape[-2:]
        tokens = to_tokens(maps.flatten(0, 1), len(maps))
        for block in self.blocks:
            tokens = block(tokens, *grid)
        return to_maps(self.norm(tokens), *grid).unflatten(0, maps.shape[:2])


@MODELS.register_module()
class TokenFusionGenerator(BaseModule):
    """Images of one modality from aligned images of M others.

    Args:
        num_modalities: M.
        arch: Name or sizes, see ``archs``.
        in_channels, out_channels: Of a modality, and of the image that is made.
        mlp_ratio: Hidden width of the FFNs over the width.
        drop_path_rate: Of the encoder's last block; rises linearly from 0. The decoder takes the same list from its
            start again, in its own order of stages.
        scored: Which blocks of an encoder stage have scores; 'none' for streams that do not meet.
        shared_norm, shared_layers: Of encoder and decoder, see ``FusionEncoder``.
        encoder: More arguments of ``FusionEncoder``: ``threshold``, ``exchange``, ``keep_bias``, ``input_size`` (needed
            for three modalities and more)...
    """

    def __init__(self, num_modalities: int = 2, arch: str | dict = 'b2', in_channels: int = 3, out_channels: int = 3,
                 mlp_ratio: float = 4, drop_path_rate: float = 0.1, scored: str = 'last', shared_norm: bool = False,
                 shared_layers: bool = True, init_cfg: dict | None = None, **encoder) -> None:
        super().__init__(init_cfg)
        settings = arch_settings(arch)
        widths, depths = settings['embed_dims'], settings['depths']
        self.encoder = FusionEncoder(
            **settings, in_channels=in_channels, num_modalities=num_modalities, mlp_ratio=mlp_ratio,
            drop_path_rate=drop_path_rate, scored=scored, shared_norm=shared_norm, shared_layers=shared_layers,
            **encoder)
        order = range(len(widths) - 2, -1, -1)
        rates = [rate for stage in drop_path_rates(tuple(depths), drop_path_rate) for rate in stage]
        self.decoder = ModuleList()
        for index in order:
            own, rates = rates[:depths[index]], rates[depths[index]:]
            self.decoder.append(DecoderStage(
                num_modalities, widths[index + 1], widths[index], settings['num_heads'][index],
                settings['sr_ratios'][index], mlp_ratio, own, Sharing(shared_norm, shared_layers)))
        self.upsample = PatchUpsample(widths[0], widths[0])
        self.project = nn.Conv2d(widths[0], out_channels, 1)
        self.ensemble = LearnedEnsemble(num_modalities) if num_modalities > 1 else None
        self.divisor = 2 ** len(widths)

    def init_weights(self) -> None:
        """Random weights of the official code."""
        for part in (self.upsample, self.project):
            init_transformer(part)
        super().init_weights()

    def forward(self, modalities: Tensor) -> tuple[Tensor, Tensor, list[Scored]]:
        """Translate.

        Args:
            modalities: (M, B, C, H, W) in -1..1.

        Returns:
            The image of each branch, (M, B, C', H, W) in -1..1; their ensemble, (B, C', H, W), which passes no gradient
            to the branches (the branch itself where there is one only); and the scores of every block that has them.

        Raises:
            DataError: H or W is no multiple of 2 to the number of stages.
        """
        height, width = modalities.shape[-2:]
        if height % self.divisor or width % self.divisor:
            raise DataError(f'images of {height} x {width} pixels: expected sides that are multiples of '
                            f'{self.divisor}; set the sizes of TaskonomyResize and TaskonomyRandomCrop')
        features, scored = self.encoder(modalities)
        maps = features.pop()
        for stage in self.decoder:
            maps = stage(maps, features.pop())
        images = self.project(self.upsample(maps).flatten(0, 1)).tanh().unflatten(0, maps.shape[:2])
        return images, images[0] if self.ensemble is None else self.ensemble(images), scored
