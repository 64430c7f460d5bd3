"""The transformer block of SegFormer (arXiv 2105.15203) for several modalities that exchange tokens.

All weights but the norms are shared by default: modalities are one batch to every layer with weights, so that M of
them cost as many kernel calls as one. Tokens are (M, B, N, C).

Where paper and official code of TokenFusion (arXiv 2204.08721) differ, ``exchange`` chooses:

- 'branch' (official code, default): the attention branch's output is multiplied by the score and then exchanged; the
  residual stream stays in its modality.
- 'input' (paper, equations 4 and 6): whole tokens are exchanged before the layer, and the normalised tokens are
  multiplied by the score before the attention. A token that was put in brings its own score with it (inferred).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn
from torch.nn import functional

from .exchange import THRESHOLD, exchange_tokens
from .modality_layers import DEFAULT_SHARING, ModalityLayerNorm, Sharing, modality_layer

EXCHANGES = ('branch', 'input')


@dataclass
class Fusion:
    """What a block needs to exchange tokens.

    Attributes:
        scores: (M, B, N), or None: no scaling and no exchange.
        threshold: Scores below it are replaced.
        source: Map of ``GroupAllocation``, (M, N), for three modalities and more.
        exchange: 'branch' or 'input'.
        position: Embedding that is added again behind the exchange, (N, C) or None; without gradient.
    """

    scores: Tensor | None = None
    threshold: float = THRESHOLD
    source: Tensor | None = None
    exchange: str = 'branch'
    position: Tensor | None = None


def flat_call(layer: nn.Module, tokens: Tensor) -> Tensor:
    """A layer with weights on (M, B, ...) as one batch, (M, B, ...)."""
    out = layer(tokens.flatten(0, 1))
    return out.view(*tokens.shape[:2], *out.shape[1:])


def to_maps(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Tokens (M, B, N, C) as maps (M * B, C, rows, columns)."""
    return tokens.flatten(0, 1).transpose(1, 2).unflatten(2, (rows, columns))


def to_tokens(maps: Tensor, num_modalities: int) -> Tensor:
    """Maps (M * B, C, rows, columns) as tokens (M, B, N, C)."""
    return maps.flatten(2).transpose(1, 2).unflatten(0, (num_modalities, -1))


class SpatialReductionAttention(nn.Module):
    """Attention whose keys and values come from a grid that is ``sr_ratio`` times coarser.

    Args:
        num_modalities: M, of the norms.
        channels: C.
        num_heads: Heads; C is a multiple.
        sr_ratio: Stride of the convolution that coarsens; 1 for none.
        sharing: What the modalities share.
    """

    def __init__(self, num_modalities: int, channels: int, num_heads: int, sr_ratio: int,
                 sharing: Sharing = DEFAULT_SHARING) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(f'num_heads {num_heads}: expected a divisor of the width, {channels}')
        self.num_heads, self.sr_ratio = num_heads, sr_ratio
        copies = dict(num_modalities=num_modalities, shared=sharing.layers)
        self.q = modality_layer(lambda: nn.Linear(channels, channels), **copies)
        self.kv = modality_layer(lambda: nn.Linear(channels, 2 * channels), **copies)
        self.proj = modality_layer(lambda: nn.Linear(channels, channels), **copies)
        if sr_ratio > 1:
            self.sr = modality_layer(lambda: nn.Conv2d(channels, channels, sr_ratio, sr_ratio), **copies)
            self.norm = ModalityLayerNorm(num_modalities, channels, shared=sharing.norm)

    def forward(self, tokens: Tensor, rows: int, columns: int) -> Tensor:
        """(M, B, N, C) of the same."""
        context = tokens
        if self.sr_ratio > 1:
            context = self.norm(to_tokens(self.sr(to_maps(tokens, rows, columns)), len(tokens)))
        query = self.q(tokens.flatten(0, 1)).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        key, value = self.kv(context.flatten(0, 1)).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        out = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(out.transpose(1, 2).flatten(2)).view_as(tokens)


class MixFFN(nn.Module):
    """Two linear layers with a depth-wise 3x3 convolution between them, which knows where a token is.

    Args:
        num_modalities: M.
        channels: C.
        hidden: Width between the layers.
        sharing: What the modalities share.
    """

    def __init__(self, num_modalities: int, channels: int, hidden: int, sharing: Sharing = DEFAULT_SHARING) -> None:
        super().__init__()
        copies = dict(num_modalities=num_modalities, shared=sharing.layers)
        self.fc1 = modality_layer(lambda: nn.Linear(channels, hidden), **copies)
        self.dwconv = modality_layer(lambda: nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden), **copies)
        self.fc2 = modality_layer(lambda: nn.Linear(hidden, channels), **copies)

    def forward(self, tokens: Tensor, rows: int, columns: int) -> Tensor:
        """(M, B, N, C) of the same."""
        hidden = self.dwconv(to_maps(self.fc1(tokens), rows, columns))
        return self.fc2(functional.gelu(to_tokens(hidden, len(tokens))))


class FusionBlock(nn.Module):
    """Attention and Mix-FFN with residual additions, and an exchange of tokens; see the module's description.

    Args:
        num_modalities: M.
        channels: C.
        num_heads, sr_ratio: Of the attention.
        mlp_ratio: Hidden width of the FFN over C.
        drop_path: Probability that a sample skips a branch, drawn for each modality of its own.
        sharing: What the modalities share. Channels are exchanged behind the two norms of the block (inferred).
    """

    def __init__(self, num_modalities: int, channels: int, num_heads: int, sr_ratio: int, mlp_ratio: float = 4,
                 drop_path: float = 0., sharing: Sharing = DEFAULT_SHARING) -> None:
        super().__init__()
        norm = dict(shared=sharing.norm, channel_threshold=sharing.channel_threshold)
        self.norm1 = ModalityLayerNorm(num_modalities, channels, **norm)
        self.attn = SpatialReductionAttention(num_modalities, channels, num_heads, sr_ratio, sharing)
        self.norm2 = ModalityLayerNorm(num_modalities, channels, **norm)
        self.mlp = MixFFN(num_modalities, channels, int(channels * mlp_ratio), sharing)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def attend(self, tokens: Tensor, rows: int, columns: int, fusion: Fusion) -> tuple[Tensor, Tensor]:
        """The residual stream and the attention branch's output behind the exchange, (M, B, N, C) each."""
        scores, apart = fusion.scores, (fusion.threshold, fusion.source)
        if scores is not None and fusion.exchange == 'input':
            tokens = exchange_tokens(tokens, scores, *apart)
            scores = exchange_tokens(scores[..., None], scores, *apart)
        if fusion.position is not None:
            tokens = tokens + fusion.position.detach()
        normed = self.norm1(tokens)
        if scores is not None and fusion.exchange == 'input':
            return tokens, self.attn(normed * scores, rows, columns)
        branch = self.attn(normed, rows, columns)
        if scores is not None:
            branch = exchange_tokens(branch * scores[..., None], scores, *apart)
        return tokens, branch

    def forward(self, tokens: Tensor, rows: int, columns: int, fusion: Fusion | None = None) -> Tensor:
        """(M, B, N, C) of the same, for a grid of N = rows * columns tokens."""
        tokens, branch = self.attend(tokens, rows, columns, fusion or Fusion())
        tokens = tokens + flat_call(self.drop_path, branch)
        return tokens + flat_call(self.drop_path, self.mlp(self.norm2(tokens), rows, columns))


class PatchEmbed(nn.Module):
    """Convolution that makes tokens of maps, with the modalities' norm behind it.

    Args:
        num_modalities: M.
        in_channels, channels: Widths before and behind.
        kernel, stride: Of the convolution; it pads by half of the kernel.
        sharing: What the modalities share; the convolution in any case (inferred: table 8 names attention and FFN).
    """

    def __init__(self, num_modalities: int, in_channels: int, channels: int, kernel: int, stride: int,
                 sharing: Sharing = DEFAULT_SHARING) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2)
        self.norm = ModalityLayerNorm(num_modalities, channels, shared=sharing.norm)

    def forward(self, maps: Tensor) -> tuple[Tensor, int, int]:
        """Tokens (M, B, N, C), rows and columns, of maps (M, B, C', H, W)."""
        grid = self.proj(maps.flatten(0, 1))
        return self.norm(to_tokens(grid, len(maps))), *grid.shape[-2:]


def init_transformer(module: nn.Module) -> None:
    """Initial weights of the official code: linear layers 0.02, convolutions by their fan out, biases 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Conv2d):
            fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels // layer.groups
            nn.init.normal_(layer.weight, 0, (2 / fan_out) ** 0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def drop_path_rates(depths: tuple[int, ...], rate: float) -> list[list[float]]:
    """Rates that rise linearly from 0 to ``rate`` over all blocks, for the blocks of each stage."""
    rates = torch.linspace(0, rate, sum(depths), device='cpu').tolist()  # also where a model is built on 'meta'
    return [[rates.pop(0) for _ in range(depth)] for depth in depths]
