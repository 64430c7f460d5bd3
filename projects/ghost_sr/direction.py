"""How a ghost layer chooses its direction while it trains (arXiv 2101.08525): two straight-through estimators.

A real-valued window plus Gumbel noise is scored; the forward pass uses the one-hot window at the best score. The two
published forms differ in the score and in what the backward pass takes the gradient of:

- `ste_abs`, the released code: the score is the absolute value, the gradient goes straight to the window;
- `gumbel_softmax`, the paper: the score is the value, the gradient goes through a softmax over the window. Its
  temperature is not given; 1 is inferred.
"""

import torch
from torch.autograd import Function

MODES = ('ste_abs', 'gumbel_softmax', 'fixed')
EPS = 1e-20


def gumbel_noise(uniform):
    """Gumbel(0, 1) noise from samples of the uniform distribution on [0, 1), as the released code guards it."""
    return -torch.log(-torch.log(uniform + EPS) + EPS)


def best_position(window, mode):
    """Flat position of the best score in each window (C, 1, k, k), as (C,) integers."""
    return (window.abs() if mode == 'ste_abs' else window).flatten(1).argmax(1)


class _Replace(Function):
    """Returns `hard`; the gradient goes to `soft`."""

    @staticmethod
    def forward(ctx, soft, hard):
        return hard.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad, None


def one_hot_window(window, noise, mode, tau=1.0):
    """One-hot window of the best direction, differentiable with respect to `window`.

    Args:
        window, noise (Tensor): (C, 1, k, k).
        mode (str): 'ste_abs' or 'gumbel_softmax'.
        tau (float): Temperature of the softmax.

    Returns:
        tuple[Tensor, Tensor]: The window, exactly one-hot, and the flat positions of its ones, (C,).
    """
    noisy = window + noise
    position = best_position(noisy.detach(), mode)
    hard = torch.zeros_like(noisy).flatten(1).scatter_(1, position[:, None], 1).view_as(noisy)
    soft = window if mode == 'ste_abs' else (noisy / tau).flatten(1).softmax(1).view_as(noisy)
    return _Replace.apply(soft, hard), position
