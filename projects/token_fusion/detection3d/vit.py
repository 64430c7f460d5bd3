"""Vision transformer with detection tokens, the image branch (YOLOS, arXiv 2106.00666; DeiT, arXiv 2012.12877).

Parameter names are DeiT's. Tokens are in the order class token, patches by rows, detection tokens; tables of positional
embeddings are made for one size of images and resized by bicubic interpolation for others. Blocks are run a few at a
time, so that tokens can be exchanged between them.
"""

from __future__ import annotations

import numpy as np
import torch
from mmcv.cnn.bricks import DropPath
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Self-attention with one projection for query, key and value.

    Args:
        channels: Width of the tokens.
        num_heads: Divides the width.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) of the same."""
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., C) of the same."""
        return self.fc2(functional.gelu(self.fc1(tokens)))


class Block(nn.Module):
    """Attention and FFN with norms before them and residual additions.

    Args:
        channels, num_heads: Of the attention.
        mlp_ratio: Hidden width of the FFN over the width.
        drop_path: Probability that a sample skips a branch.
    """

    def __init__(self, channels: int, num_heads: int, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = Attention(channels, num_heads)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = FeedForward(channels, int(channels * mlp_ratio))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, tokens: Tensor, scale: Tensor | None = None) -> Tensor:
        """(B, N, C) of the same; ``scale`` (B, N) multiplies what the attention sees."""
        seen = self.norm1(tokens)
        if scale is not None:
            seen = seen * scale[..., None]
        tokens = tokens + self.drop_path(self.attn(seen))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


class PatchEmbed(nn.Module):
    """One token for each whole patch; a strip beyond the last one is dropped."""

    def __init__(self, channels: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, patch_size, patch_size)

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Tokens (B, rows * columns, C) of images (B, 3, H, W), and rows and columns."""
        grid = self.proj(images)
        return grid.flatten(2).transpose(1, 2), (grid.shape[2], grid.shape[3])


def resize_table(table: Tensor, source: tuple[int, int], target: tuple[int, int], num_last: int) -> Tensor:
    """Embeddings (..., 1 + rows * columns + num_last, C) for another grid; the first and last ones stay."""
    if source == target:
        return table
    first, grid, last = table.split([1, source[0] * source[1], num_last], dim=-2)
    maps = grid.flatten(0, -3).transpose(1, 2).unflatten(2, source)
    maps = functional.interpolate(maps, target, mode='bicubic', align_corners=False)
    grid = maps.flatten(2).transpose(1, 2).reshape(*first.shape[:-2], -1, first.shape[-1])
    return torch.cat([first, grid, last], -2)


@MODELS.register_module()
class DetectionViT(BaseModule):
    """See the module's description.

    Args:
        embed_dims: 192 (tiny) or 384 (small).
        depth: Blocks.
        num_heads: 3 (tiny) or 6 (small).
        patch_size: Pixels of a patch's side.
        mlp_ratio: Hidden width of the FFNs over the width.
        drop_path_rate: Of the last block; rises linearly from 0.
        num_detection_tokens: Queries of the 2D detector.
        table_size: Height and width in pixels of the images that the tables are made for.
        mid_positions: Whether embeddings are added behind every block but the last as well (YOLOS-S and B).
        init_cfg: ``dict(type='Pretrained', checkpoint=FILE)`` for a file that ``vit_weights`` wrote.
    """

    def __init__(self, embed_dims: int = 192, depth: int = 12, num_heads: int = 3, patch_size: int = 16,
                 mlp_ratio: float = 4, drop_path_rate: float = 0.3, num_detection_tokens: int = 100,
                 table_size: tuple[int, int] = (800, 1333), mid_positions: bool = False,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.embed_dims, self.patch_size, self.num_detection_tokens = embed_dims, patch_size, num_detection_tokens
        self.table_grid = (table_size[0] // patch_size, table_size[1] // patch_size)
        count = 1 + self.table_grid[0] * self.table_grid[1] + num_detection_tokens
        self.patch_embed = PatchEmbed(embed_dims, patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dims))
        self.det_token = nn.Parameter(torch.zeros(1, num_detection_tokens, embed_dims))
        self.pos_embed = nn.Parameter(torch.zeros(1, count, embed_dims))
        self.mid_pos_embed = nn.Parameter(torch.zeros(depth - 1, 1, count, embed_dims)) if mid_positions else None
        self.blocks = nn.ModuleList(Block(embed_dims, num_heads, mlp_ratio, rate)
                                    for rate in np.linspace(0, drop_path_rate, depth).tolist())
        self.norm = nn.LayerNorm(embed_dims, eps=1e-6)

    def init_weights(self) -> None:
        """Linear layers, tokens and tables from a truncated normal of 0.02; then what ``init_cfg`` says."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for table in (self.cls_token, self.det_token, self.pos_embed, self.mid_pos_embed):
            if table is not None:
                trunc_normal_(table, std=0.02)
        super().init_weights()

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Embeddings of the first block's input, (1, 1 + rows * columns + detection tokens, C)."""
        return resize_table(self.pos_embed, self.table_grid, grid, self.num_detection_tokens)

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Tokens (B, N, C) of images (B, 3, H, W), and rows and columns of the patches."""
        patches, grid = self.patch_embed(images)
        count = len(images)
        tokens = torch.cat([self.cls_token.expand(count, -1, -1), patches, self.det_token.expand(count, -1, -1)], 1)
        return tokens + self.positions(grid), grid

    def run(self, tokens: Tensor, first: int, last: int, grid: tuple[int, int], scale: Tensor | None = None) -> Tensor:
        """Blocks ``first`` to ``last - 1``; ``scale`` (B, N) is for the attention of the first one."""
        for index in range(first, last):
            tokens = self.blocks[index](tokens, scale if index == first else None)
            if self.mid_pos_embed is not None and index < len(self.mid_pos_embed):
                table = self.mid_pos_embed[index]
                tokens = tokens + resize_table(table, self.table_grid, grid, self.num_detection_tokens)
        return tokens

    def detections(self, tokens: Tensor) -> Tensor:
        """The detection tokens behind the last norm, (B, Q, C)."""
        return self.norm(tokens[:, -self.num_detection_tokens:])

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        """Weights of a classifier fit, too: its table is resized, and what it lacks stays as it is."""
        table = state_dict.get(f'{prefix}pos_embed')
        side = 0 if table is None else round((table.shape[1] - 1) ** 0.5)
        if f'{prefix}det_token' not in state_dict and side and table.shape[1] == 1 + side * side:
            own = self.pos_embed.detach()[:, -self.num_detection_tokens:]
            resized = resize_table(table, (side, side), self.table_grid, 0)
            state_dict[f'{prefix}pos_embed'] = torch.cat([resized, own.to(resized)], 1)
            for name in ('det_token', 'mid_pos_embed'):
                if getattr(self, name) is not None:
                    state_dict.setdefault(f'{prefix}{name}', getattr(self, name).detach())
        super()._load_from_state_dict(state_dict, prefix, *args)
