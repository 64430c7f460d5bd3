"""Loss that keeps scores sparse, and what a log says of them (TokenFusion, arXiv 2204.08721, equation 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def token_sparsity_loss(scores: Sequence[Tensor], weight: float, reduction: str = 'sum') -> Tensor:
    """The l1 norm of all scores.

    Args:
        scores: Of each layer that exchanges, (M, B, N).
        weight: Lambda. With 'sum', 1e-6 (segmentation) or 1e-3 (translation, 3D detection) are the official code's; the
            paper's 1e-3 and 1e-4 would fit 'mean' (inferred).
        reduction: 'sum' over everything, the official code's; 'mean' over samples and tokens, summed over layers and
            modalities, which does not depend on batch and image size.

    Raises:
        ValueError: an unknown reduction.
    """
    if reduction == 'sum':
        return weight * sum(score.sum() for score in scores)
    if reduction == 'mean':
        return weight * sum(score.flatten(1).mean(1).sum() for score in scores)
    raise ValueError(f"reduction {reduction!r}: expected 'sum' or 'mean'")


@torch.no_grad()
def substituted_shares(scores: Sequence[Tensor], stages: Sequence[int], threshold: float, names: Sequence[str],
                       ) -> dict[str, Tensor]:
    """Share of tokens that were replaced, in per cent, of each stage and modality, for the log.

    Args:
        scores: Of each layer that exchanges, (M, B, N).
        stages: Stage of each layer.
        threshold: Scores below it are replaced.
        names: Of the modalities.

    Returns:
        For each stage and modality ``replaced_<name>_s<stage>``, and ``replaced_<name>`` for all layers, each layer
        counting alike as in the official log.
    """
    shares = torch.stack([(score < threshold).float().flatten(1).mean(1) for score in scores]) * 100  # layers, M
    log = {}
    for m, name in enumerate(names):
        for stage in sorted(set(stages)):
            log[f'replaced_{name}_s{stage}'] = shares[[own == stage for own in stages], m].mean()
        log[f'replaced_{name}'] = shares[:, m].mean()
    return log
