"""Exchange of tokens between modalities (TokenFusion, arXiv 2204.08721, equations 6 and 7).

Tokens of M modalities are one tensor (M, B, N, C): token n of all modalities belongs to the same place. A token whose
score is below the threshold takes the token of another modality at its place. Which other one is fixed before training:
with two modalities there is no choice, with more the places of each modality are shared out among the others.

The official code knows two modalities only; the map for more follows the paper, and that it is drawn per stage, stored
in the checkpoint and resized by nearest neighbour for other grids is inferred.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

THRESHOLD = 0.02
"""Of the official code, at training and test time; the paper names 0.01 and 0.02."""


def exchange_tokens(tokens: Tensor, scores: Tensor, threshold: float = THRESHOLD,
                    source: Tensor | None = None) -> Tensor:
    """Replace tokens of low score by the aligned tokens of another modality.

    Nothing is rescaled, and no gradient passes through the comparison.

    Args:
        tokens: (M, B, N, C).
        scores: (M, B, N), of the receiving modality; a score equal to the threshold keeps its token.
        threshold: Scores below it are replaced.
        source: (M, N) of int64, the modality that replaces a token; only for M > 2.

    Returns:
        (M, B, N, C).

    Raises:
        ValueError: one modality, or three and more without ``source``.
    """
    return torch.where((scores >= threshold)[..., None], tokens, replacements(tokens, source))


def replacements(tokens: Tensor, source: Tensor | None = None) -> Tensor:
    """What each token would be replaced by, (M, B, N, ...) of tokens (M, B, N, ...); see ``exchange_tokens``."""
    if source is None:
        if len(tokens) != 2:
            raise ValueError(f'exchange between {len(tokens)} modalities: expected 2, or more with a map of sources '
                             '(GroupAllocation)')
        return tokens.flip(0)
    index = source.view(len(tokens), 1, -1, *[1] * (tokens.dim() - 3))
    return tokens.gather(0, index.expand_as(tokens))


class GroupAllocation(nn.Module):
    """Fixed map of which modality replaces a token, for three modalities and more.

    For each modality the places of the grid are split at random into M - 1 groups of equal size (they differ by one
    where N is no multiple), one for each other modality. The map is a buffer: a checkpoint carries it.

    Args:
        num_modalities: M.
        grid: Rows and columns of the token grid that it is drawn for.
        seed: Of the draw.
    """

    def __init__(self, num_modalities: int, grid: tuple[int, int], seed: int = 0) -> None:
        super().__init__()
        rows, columns = grid
        generator = torch.Generator().manual_seed(seed)
        rank = torch.stack([torch.randperm(rows * columns, generator=generator) for _ in range(num_modalities)])
        step = 1 + rank % (num_modalities - 1)  # 1 .. M-1: never the modality itself
        own = torch.arange(num_modalities)[:, None]
        self.register_buffer('source', ((own + step) % num_modalities).view(num_modalities, rows, columns))

    def forward(self, rows: int, columns: int) -> Tensor:
        """Map for a grid of tokens, (M, rows * columns) of int64; other grids than the own by nearest neighbour."""
        if self.source.shape[1:] == (rows, columns):
            return self.source.flatten(1)
        resized = functional.interpolate(self.source[None].float(), size=(rows, columns), mode='nearest-exact')
        return resized[0].long().flatten(1)
