"""The learnable power activation of AdderSR (arXiv 2009.08891, eq. 11).

    P(y) = sgn(y) |y|^alpha

An adder layer answers a flat patch according to its brightness, so adder networks lack high-pass filters (theorem 2).
A power above 1 stretches large responses and with them the contrast; the network learns it.

The derivatives are alpha |y|^(alpha - 1) and P(y) ln|y|. At y = 0, frequent behind a ReLU, the former is infinite for
alpha < 1, and the product of both factors of the latter undefined. Therefore P is linear where |y| < eps, through
y = +-eps: y * max(|y|, eps)^(alpha - 1). That is continuous, odd, exact elsewhere, the identity for alpha = 1, and both
derivatives exist at 0.

Inferred (the paper's code was never released): one alpha for each layer, beginning at 1, kept in [0.1, 3]; eps.
"""

import torch
from mmengine.registry import MODELS
from torch import nn

LIMITS = (0.1, 3.0)
EPS = 1e-6


class _Power(torch.autograd.Function):
    """Keeps the input alone for backward, which behind a ReLU is there anyway; autograd would keep five more tensors.

    Where alpha is at a limit, its gradient counts only if a descent step leads back inside: a plain clamp would never
    let go of an alpha that has once left.
    """

    @staticmethod
    def forward(input, alpha, low, high, eps):
        return input * input.abs().clamp_min(eps).pow(alpha.clamp(low, high) - 1)

    @staticmethod
    def setup_context(ctx, inputs, output):
        input, alpha, *ctx.constants = inputs
        ctx.save_for_backward(input, alpha)

    @staticmethod
    def backward(ctx, grad):
        (input, alpha), (low, high, eps) = ctx.saved_tensors, ctx.constants
        exponent, size = alpha.clamp(low, high), input.abs()
        floored = size.clamp_min(eps)
        slope = grad * floored.pow(exponent - 1)
        grad_input = grad_alpha = None
        if ctx.needs_input_grad[0]:
            grad_input = torch.where(size < eps, slope, slope * exponent)
        if ctx.needs_input_grad[1]:
            grad_alpha = (slope * input * floored.log()).sum_to_size(alpha.shape)
            outward = ((alpha <= low) & (grad_alpha > 0)) | ((alpha >= high) & (grad_alpha < 0))
            grad_alpha = grad_alpha.masked_fill(outward, 0)
        return grad_input, grad_alpha, None, None, None


def power_activation(input, alpha, limits=LIMITS, eps=EPS):
    """sgn(y) |y|^alpha with finite derivatives (arXiv 2009.08891, eq. 11).

    Args:
        input (Tensor): y, any shape, floating point. Half precision is computed in float32.
        alpha (Tensor): The exponent, of a shape that broadcasts to the input's.
        limits (tuple[float, float]): Between which alpha is clamped.
        eps (float): Below this |y| the function is linear.

    Returns:
        Tensor: In the shape and type of the input.
    """
    dtype = torch.promote_types(input.dtype, torch.float32)
    return _Power.apply(input.to(dtype), alpha.to(dtype), *limits, eps).to(input.dtype)


@MODELS.register_module()
class PowerActivation(nn.Module):
    """Learnable power activation; see :func:`power_activation`.

    Args:
        channels (int, optional): Channels of the input; only `per_channel` needs it.
        per_channel (bool): One exponent for each channel instead of one in all.
        init (float): Where the exponents begin; 1 is the identity.
        limits (tuple[float, float]): Between which they stay, 0 < low <= init <= high.
        eps (float): Below this size of the input the function is linear.

    Shape: (N, C, H, W), in and out. The parameter `alpha` is (1,) or (C,).

    Raises:
        ValueError: limits, eps or channels that do not fit.
    """

    def __init__(self, channels=None, per_channel=False, init=1.0, limits=LIMITS, eps=EPS):
        super().__init__()
        if not 0 < limits[0] <= init <= limits[1] or eps <= 0:
            raise ValueError(f'PowerActivation: limits={limits}, init={init}, eps={eps}: expected '
                             '0 < limits[0] <= init <= limits[1] and eps > 0')
        if per_channel and not channels:
            raise ValueError('PowerActivation: per_channel=True needs the number of channels')
        self.limits, self.eps = tuple(limits), eps
        self.alpha = nn.Parameter(torch.full((channels if per_channel else 1,), float(init)))

    def forward(self, input):
        return power_activation(input, self.alpha[:, None, None], self.limits, self.eps)

    def extra_repr(self):
        return f'num_parameters={len(self.alpha)}, limits={self.limits}, eps={self.eps}'
