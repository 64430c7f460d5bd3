"""A pyramid of transformer stages that all modalities share, with exchange of tokens (TokenFusion, arXiv 2204.08721).

What segmentation and image translation have in common. Deviations from the paper follow the official code: one score
net per stage and modality (paper: per layer), scores and exchange in the attention branch; both are options. Residual
positional alignment, which the paper reports and the official code of these two tasks lacks, is an option whose form is
inferred: one learned embedding per stage, shared by the modalities, added behind the patch embedding and, without
gradient, again behind every exchange.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmengine.model import BaseModule, ModuleList
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from .exchange import THRESHOLD, GroupAllocation
from .mit_block import EXCHANGES, Fusion, FusionBlock, PatchEmbed, drop_path_rates, init_transformer, to_maps
from .modality_layers import DEFAULT_SHARING, ModalityLayerNorm, Sharing
from .score_net import ModalityScoreNets

SCORED = ('all', 'last', 'none')
SCORE_NETS = ('stage', 'layer')


@dataclass
class Scored:
    """The scores of one block.

    Attributes:
        stage: Index of the block's stage.
        scores: (M, B, N).
        grid: Rows and columns of the N tokens.
    """

    stage: int
    scores: Tensor
    grid: tuple[int, int]


class FusionStage(BaseModule):
    """Patch embedding, blocks and a norm.

    Args:
        num_modalities: M.
        in_channels, channels: Widths before and in the stage.
        kernel, stride: Of the patch embedding.
        depth, num_heads, sr_ratio, mlp_ratio: Of the blocks.
        drop_paths: Rate of each block.
        scored: Which blocks have scores: 'all', 'last' or 'none'.
        score_nets: One net per modality for the 'stage', or for each 'layer'.
        keep_bias: See ``TokenScoreNet``.
        threshold, exchange: See ``Fusion``.
        position_grid: Rows and columns of a learned embedding for residual positional alignment; None for none.
        source_grid: Rows and columns for the map of ``GroupAllocation``; used for M > 2.
        source_seed: Of that map.
        sharing: What the modalities share.
        with_cp: Recompute activations in the backward pass instead of keeping them.
    """

    def __init__(self, num_modalities: int, in_channels: int, channels: int, kernel: int, stride: int, depth: int,
                 num_heads: int, sr_ratio: int, mlp_ratio: float, drop_paths: Sequence[float], scored: str = 'all',
                 score_nets: str = 'stage', keep_bias: float = 0., threshold: float = THRESHOLD,
                 exchange: str = 'branch', position_grid: tuple[int, int] | None = None,
                 source_grid: tuple[int, int] | None = None, source_seed: int = 0,
                 sharing: Sharing = DEFAULT_SHARING, with_cp: bool = False, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.threshold, self.exchange, self.with_cp = threshold, exchange, with_cp
        self.patch_embed = PatchEmbed(num_modalities, in_channels, channels, kernel, stride, sharing)
        self.blocks = nn.ModuleList(
            FusionBlock(num_modalities, channels, num_heads, sr_ratio, mlp_ratio, rate, sharing)
            for rate in drop_paths)
        self.norm = ModalityLayerNorm(num_modalities, channels, shared=sharing.norm)
        self.scored = dict(all=range(depth), last=range(depth - 1, depth), none=range(0))[scored]
        count = len(self.scored) if score_nets == 'layer' else min(1, len(self.scored))
        self.score_nets = ModuleList(
            ModalityScoreNets(num_modalities, channels, keep_bias) for _ in range(count))
        self.position = None
        if position_grid is not None:
            self.position = nn.Parameter(torch.zeros(1, channels, *position_grid))
        self.allocation = None
        if num_modalities > 2 and len(self.scored):
            self.allocation = GroupAllocation(num_modalities, source_grid, source_seed)

    def init_weights(self) -> None:
        """Random weights of the official code, then those of the score nets."""
        for part in (self.patch_embed, self.blocks):
            init_transformer(part)
        if self.position is not None:
            trunc_normal_(self.position, std=0.02)
        super().init_weights()

    def embedding(self, rows: int, columns: int) -> Tensor | None:
        """Positional embedding for a grid, (rows * columns, C); None without one."""
        if self.position is None:
            return None
        if self.position.shape[-2:] != (rows, columns):
            resized = functional.interpolate(self.position, (rows, columns), mode='bilinear', align_corners=False)
            return resized[0].flatten(1).T
        return self.position[0].flatten(1).T

    def forward(self, maps: Tensor) -> tuple[Tensor, list[Tensor], tuple[int, int]]:
        """Of maps (M, B, C', H, W): tokens behind the norm (M, B, N, C), scores of the scored blocks, and the grid."""
        tokens, rows, columns = self.patch_embed(maps)
        position = self.embedding(rows, columns)
        if position is not None:
            tokens = tokens + position
        source = None if self.allocation is None else self.allocation(rows, columns)
        all_scores = []
        for index, block in enumerate(self.blocks):
            fusion = Fusion(None, self.threshold, source, self.exchange, position)
            if index in self.scored:
                net = self.score_nets[index - self.scored.start if len(self.score_nets) > 1 else 0]
                fusion.scores = net(tokens)
                all_scores.append(fusion.scores)
            tokens = self.run(block, tokens, rows, columns, fusion)
        return self.norm(tokens), all_scores, (rows, columns)

    def run(self, block: FusionBlock, tokens: Tensor, rows: int, columns: int, fusion: Fusion) -> Tensor:
        """A block, through a checkpoint where activations are to be recomputed."""
        if self.with_cp and tokens.requires_grad:
            return checkpoint(block, tokens, rows, columns, fusion, use_reentrant=False)
        return block(tokens, rows, columns, fusion)


class FusionEncoder(BaseModule):
    """Stages one after the other; each halves the resolution, or what its stride says.

    Args:
        embed_dims: Width of each stage.
        num_heads, depths, sr_ratios: Of each stage.
        kernels, strides: Of the patch embeddings.
        in_channels: Channels of a modality.
        num_modalities: M.
        mlp_ratio: Hidden width of the FFNs over the width.
        drop_path_rate: Of the last block; rises linearly from 0 over all blocks.
        scored: Which blocks of a stage have scores and exchange: 'all', 'last' or 'none'.
        score_nets: One net per modality for each 'stage' (official code), or each 'layer' (paper).
        keep_bias: See ``TokenScoreNet``.
        threshold: Tokens with scores below it are replaced.
        exchange: 'branch' (official code) or 'input' (paper); see ``mit_block``.
        residual_position: Residual positional alignment.
        input_size: Height and width in pixels that maps of sources and positional embeddings are made for; other sizes
            work, by resizing them. Needed for three modalities and more, and for ``residual_position``.
        source_seed: Of the maps of sources; each stage adds its index.
        shared_norm: One scale and shift of each norm for all modalities (table 8 of the paper).
        shared_layers: Attention and FFN share their weights; False: each modality has its own (table 8).
        channel_threshold: Exchange of channels behind the blocks' norms, see ``Sharing``; None for none (table 9).
        with_cp: Recompute activations in the backward pass.

    Raises:
        ValueError: an unknown choice, lists of unequal length, or ``input_size`` missing.
    """

    def __init__(self, embed_dims: Sequence[int], num_heads: Sequence[int], depths: Sequence[int],
                 sr_ratios: Sequence[int], kernels: Sequence[int], strides: Sequence[int], in_channels: int = 3,
                 num_modalities: int = 2, mlp_ratio: float = 4, drop_path_rate: float = 0.1, scored: str = 'all',
                 score_nets: str = 'stage', keep_bias: float = 0., threshold: float = THRESHOLD,
                 exchange: str = 'branch', residual_position: bool = False,
                 input_size: tuple[int, int] | None = None, source_seed: int = 0, shared_norm: bool = False,
                 shared_layers: bool = True, channel_threshold: float | None = None, with_cp: bool = False,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        for name, value, known in (('scored', scored, SCORED), ('score_nets', score_nets, SCORE_NETS),
                                   ('exchange', exchange, EXCHANGES)):
            if value not in known:
                raise ValueError(f'{name}={value!r}: expected one of {", ".join(known)}')
        lengths = {len(values) for values in (embed_dims, num_heads, depths, sr_ratios, kernels, strides)}
        if len(lengths) != 1:
            raise ValueError('embed_dims, num_heads, depths, sr_ratios, kernels, strides: expected as many values of '
                             'each as there are stages')
        if input_size is None and (residual_position or (num_modalities > 2 and scored != 'none')):
            raise ValueError('input_size: expected (height, width), which the map of sources of three and more '
                             'modalities and residual_position are made for')
        self.num_modalities, self.threshold = num_modalities, threshold
        sharing = Sharing(shared_norm, shared_layers, channel_threshold)
        rates = drop_path_rates(tuple(depths), drop_path_rate)
        self.stages = ModuleList()
        grid = tuple(input_size or ())
        for stage, channels in enumerate(embed_dims):
            grid = tuple((side + 2 * (kernels[stage] // 2) - kernels[stage]) // strides[stage] + 1 for side in grid)
            self.stages.append(FusionStage(
                num_modalities, embed_dims[stage - 1] if stage else in_channels, channels, kernels[stage],
                strides[stage], depths[stage], num_heads[stage], sr_ratios[stage], mlp_ratio, rates[stage], scored,
                score_nets, keep_bias, threshold, exchange, grid if residual_position else None, grid or None,
                source_seed + stage, sharing, with_cp))

    def forward(self, modalities: Tensor) -> tuple[list[Tensor], list[Scored]]:
        """Encode.

        Args:
            modalities: (M, B, C, H, W).

        Returns:
            Maps of each stage, (M, B, C_i, H_i, W_i), and the scores of every block that has them.
        """
        features, scored = [], []
        maps = modalities
        for index, stage in enumerate(self.stages):
            tokens, scores, grid = stage(maps)
            maps = to_maps(tokens, *grid).unflatten(0, (len(modalities), -1))
            features.append(maps)
            scored += [Scored(index, score, grid) for score in scores]
        return features, scored
