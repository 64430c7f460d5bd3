"""What modalities share and keep of their own: norms, layers with weights, channels, the weights of the ensemble."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Sharing:
    """What the modalities of a block share.

    Attributes:
        norm: One scale and shift of each norm (row 3 of the paper's table 8).
        layers: The weights of attention and FFN; False is row 1 of table 8.
        channel_threshold: A channel of a norm whose scale is smaller takes the other modality's (table 9); None: no
            exchange of channels. The official code's class has 1e-2 and is never called.
    """

    norm: bool = False
    layers: bool = True
    channel_threshold: float | None = None

    def __post_init__(self) -> None:
        if self.norm and self.channel_threshold is not None:
            raise ValueError('channel_threshold: expected None with shared_norm=True, since channels are exchanged by '
                             "the scales of the modalities' own norms")

DEFAULT_SHARING = Sharing()
"""Norms apart, all else together."""


class ModalityLayers(nn.ModuleList):
    """A copy of a layer for each modality, in place of one that all share; M times B samples are one batch."""

    def forward(self, batch: Tensor) -> Tensor:
        """What the shared layer would return, of (M * B, ...) or (M, ...)."""
        return torch.cat([layer(own) for layer, own in zip(self, batch.chunk(len(self)), strict=True)])


def modality_layer(layer: Callable[[], nn.Module], num_modalities: int, shared: bool) -> nn.Module:
    """One layer, or ``ModalityLayers`` of it."""
    return layer() if shared else ModalityLayers(layer() for _ in range(num_modalities))


class ModalityLayerNorm(nn.Module):
    """A layer norm with a scale and shift for each modality.

    With an exchange of channels (arXiv 2011.05005, which the paper's table 9 refers to), a channel whose scale is
    smaller than the threshold takes the mean of the other modalities' channels.

    Args:
        num_modalities: M.
        channels: C.
        eps: 1e-6 in the official code.
        shared, channel_threshold: See ``Sharing``, ``norm`` and ``channel_threshold``.
    """

    def __init__(self, num_modalities: int, channels: int, eps: float = 1e-6, shared: bool = False,
                 channel_threshold: float | None = None) -> None:
        super().__init__()
        rows = 1 if shared else num_modalities
        self.weight = nn.Parameter(torch.ones(rows, channels))
        self.bias = nn.Parameter(torch.zeros(rows, channels))
        self.eps = eps
        self.channel_threshold = channel_threshold if num_modalities > 1 else None

    def forward(self, tokens: Tensor) -> Tensor:
        """Of (M, B, N, C), the same shape."""
        # one affine norm per modality is a single pass over its tokens; a shared norm with a scale behind it takes two
        rows = len(self.weight)
        normed = torch.stack([
            functional.layer_norm(own, own.shape[-1:], self.weight[m % rows], self.bias[m % rows], self.eps)
            for m, own in enumerate(tokens)
        ])
        if self.channel_threshold is None:
            return normed
        others = normed.flip(0) if rows == 2 else (normed.sum(0) - normed) / (rows - 1)
        kept = self.weight.abs() >= self.channel_threshold
        return torch.where(kept[:, None, None], normed, others)

    def extra_repr(self) -> str:
        exchange = '' if self.channel_threshold is None else f', channel_threshold={self.channel_threshold}'
        return f'{tuple(self.weight.shape)}, eps={self.eps}{exchange}'


class LearnedEnsemble(BaseModule):
    """Weighted mean of the modalities' outputs; the weights are a softmax of one learned number each, equal at first.

    The outputs are detached: a loss on the ensemble trains the weights alone.

    Args:
        num_modalities: M.
    """

    def __init__(self, num_modalities: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.alpha = nn.Parameter(torch.ones(num_modalities))

    def forward(self, outputs: Tensor) -> Tensor:
        """(...) of outputs (M, ...)."""
        return torch.tensordot(self.alpha.softmax(0), outputs.detach(), dims=1)
