"""What modalities keep of their own where all other weights are shared: norms, and the weights of the ensemble."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional


class ModalityLayerNorm(nn.Module):
    """A layer norm with a scale and shift for each modality.

    Args:
        num_modalities: M.
        channels: C.
        eps: 1e-6 in the official code.
        shared: One scale and shift for all modalities (row 2 of the paper's table 8).
    """

    def __init__(self, num_modalities: int, channels: int, eps: float = 1e-6, shared: bool = False) -> None:
        super().__init__()
        rows = 1 if shared else num_modalities
        self.weight = nn.Parameter(torch.ones(rows, channels))
        self.bias = nn.Parameter(torch.zeros(rows, channels))
        self.eps = eps

    def forward(self, tokens: Tensor) -> Tensor:
        """Of (M, B, N, C), the same shape."""
        # one affine norm per modality is a single pass over its tokens; a shared norm with a scale behind it takes two
        rows = len(self.weight)
        return torch.stack([
            functional.layer_norm(own, own.shape[-1:], self.weight[m % rows], self.bias[m % rows], self.eps)
            for m, own in enumerate(tokens)
        ])

    def extra_repr(self) -> str:
        return f'{tuple(self.weight.shape)}, eps={self.eps}'


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
