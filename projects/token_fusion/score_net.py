"""Scores of tokens: a small network per modality tells how important a token is (TokenFusion, arXiv 2204.08721)."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule, ModuleList
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn


class TokenScoreNet(BaseModule):
    """Importance of each token, a probability of being kept.

    LayerNorm, four linear layers (C, C/2, C/4, 2) with GELU between them, softmax; all scores begin near 0.5.

    Args:
        channels: C, width of the tokens.
        keep_bias: Initial bias of the logit of keeping. 0 is the official code's; a positive number starts nearer to
            the unfused network (inferred).
    """

    def __init__(self, channels: int, keep_bias: float = 0., init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        widths = (channels, channels, channels // 2, channels // 4, 2)
        layers: list[nn.Module] = [nn.LayerNorm(channels)]
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.Linear(before, after), nn.GELU()]
        self.keep_bias = keep_bias
        self.layers = nn.Sequential(*layers[:-1])  # no GELU behind the logits

    def init_weights(self) -> None:
        """Linear layers from a truncated normal of 0.02, as the official code's."""
        super().init_weights()
        for module in self.layers:
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.layers[-1].bias[0] = self.keep_bias

    def log_probabilities(self, tokens: Tensor) -> Tensor:
        """Logarithms of keeping and of replacing, (..., 2), of tokens (..., C)."""
        return self.layers(tokens).log_softmax(-1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores in 0..1, (...), of tokens (..., C)."""
        return self.log_probabilities(tokens)[..., 0].exp()


class ModalityScoreNets(BaseModule):
    """One ``TokenScoreNet`` for each modality.

    Args:
        num_modalities: M.
        channels: C.
        keep_bias: As in ``TokenScoreNet``.
    """

    def __init__(self, num_modalities: int, channels: int, keep_bias: float = 0., init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.nets = ModuleList(TokenScoreNet(channels, keep_bias) for _ in range(num_modalities))

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores (M, B, N) of tokens (M, B, N, C)."""
        return torch.stack([net(own) for net, own in zip(self.nets, tokens, strict=True)])
