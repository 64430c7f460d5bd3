"""Losses that keep scores and scales sparse, and what a log says of them (TokenFusion, arXiv 2204.08721)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .modality_layers import ModalityLayerNorm


def token_sparsity_loss(scores: Sequence[Tensor], weight: float, reduction: str = 'sum') -> Tensor:
    """The l1 norm of all scores (equation 5).

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


def _exchanging_norms(module: nn.Module) -> list[ModalityLayerNorm]:
    return [norm for norm in module.modules()
            if isinstance(norm, ModalityLayerNorm) and norm.channel_threshold is not None]


def channel_sparsity_loss(module: nn.Module, weight: float) -> Tensor | None:
    """The l1 norm of the scales by which channels are exchanged; None where none are.

    Args:
        module: With norms that exchange channels.
        weight: Lambda 2 of the paper's table 9, 1e-3.
    """
    norms = _exchanging_norms(module)
    return weight * sum(norm.weight.abs().sum() for norm in norms) if norms else None


@torch.no_grad()
def exchanged_channels(module: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
    """Share of channels that were exchanged, in per cent, as ``exchanged_<name>`` of each modality, for the log."""
    kept = torch.cat([norm.weight.abs() >= norm.channel_threshold for norm in _exchanging_norms(module)], 1)
    return {f'exchanged_{name}': 100 - 100 * row.float().mean() for name, row in zip(names, kept, strict=True)}


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
