"""Pixel losses in mmengine's registry, so that configs of restoration models can name them."""

import torch
from mmengine.registry import MODELS
from torch import nn


class _PixelLoss(nn.Module):
    """Mean of a function of the difference.

    Args:
        loss_weight (float): Factor.

    Shape: prediction and target alike; a scalar.
    """

    def __init__(self, loss_weight=1.0):
        super().__init__()
        self.loss_weight = loss_weight

    @staticmethod
    def penalty(difference):
        """Penalty of each pixel."""
        raise NotImplementedError

    def forward(self, pred, target):
        if pred.shape != target.shape:
            raise ValueError(f'{type(self).__name__}: the prediction has shape {tuple(pred.shape)} and the target '
                             f'{tuple(target.shape)}; does the scale of the network fit the data?')
        return self.loss_weight * self.penalty(pred - target).mean()


@MODELS.register_module()
class L1Loss(_PixelLoss):
    """Mean absolute error. mmdet has one of this name in its own scope."""

    penalty = staticmethod(torch.abs)


@MODELS.register_module()
class MSELoss(_PixelLoss):
    """Mean squared error."""

    penalty = staticmethod(torch.square)


@MODELS.register_module()
class CharbonnierLoss(_PixelLoss):
    """Smoothed absolute error, sqrt(d^2 + eps) (arXiv 1710.01992).

    Args:
        loss_weight (float): Factor.
        eps (float): Added to the square.
    """

    def __init__(self, loss_weight=1.0, eps=1e-12):
        super().__init__(loss_weight)
        self.eps = eps

    def penalty(self, difference):
        return (difference.square() + self.eps).sqrt()
