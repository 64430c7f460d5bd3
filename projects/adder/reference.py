"""Plain-torch kernels of the adder layer (arXiv 1912.13200), for any device and for float32 or float64.

They need no compiler and define what the compiled kernels must return. Work goes in strips of output rows, so
that the unfolded columns stay below ``MAX_COLUMN_ELEMENTS``; nothing of size C_out x columns is ever made.
"""

import torch
import torch.nn.functional as F

MAX_COLUMN_ELEMENTS = 1 << 24  # 64 MiB of float32


def output_size(input_hw, kernel_hw, stride, padding, dilation):
    """Height and width of a layer's output, as for a convolution: floor((x + 2p - d(k-1) - 1) / s) + 1."""
    return tuple((x + 2 * p - d * (k - 1) - 1) // s + 1
                 for x, k, s, p, d in zip(input_hw, kernel_hw, stride, padding, dilation,
                                          strict=True))


def _strips(input, weight, stride, padding, dilation):
    """Strips of output rows as (first row, end row, first padded input row, end padded input row)."""
    kernel = weight.shape[2:]
    rows, width = output_size(input.shape[2:], kernel, stride, padding, dilation)
    per_row = input.shape[0] * weight[0].numel() * width
    step = max(1, MAX_COLUMN_ELEMENTS // max(1, per_row))
    for first in range(0, rows, step):
        end = min(first + step, rows)
        yield first, end, first * stride[0], (end - 1) * stride[0] + dilation[0] * (kernel[0] - 1) + 1


def _pad(input, padding):
    return F.pad(input, (padding[1], padding[1], padding[0], padding[0]))


def forward(input, weight, stride, padding, dilation):
    """Returns -sum |x - w| of shape (N, C_out, H_out, W_out) for (N, C, H, W) and (C_out, C, kH, kW)."""
    rows, width = output_size(input.shape[2:], weight.shape[2:], stride, padding, dilation)
    output = input.new_empty(input.shape[0], weight.shape[0], rows, width)
    padded, filters = _pad(input, padding), weight.flatten(1)
    for first, end, top, bottom in _strips(input, weight, stride, padding, dilation):
        columns = F.unfold(padded[:, :, top:bottom], weight.shape[2:], dilation, 0, stride)
        distance = torch.cdist(columns.transpose(1, 2).contiguous(), filters[None], p=1.0)
        output[:, :, first:end] = -distance.transpose(1, 2).unflatten(2, (end - first, width))
    return output


def grad_input(grad_output, input, weight, stride, padding, dilation, sign):
    """Gradient with respect to the input, (N, C, H, W): sum over outputs of rule(w - x) * grad_output.

    The rule is the sign (the exact derivative of the forward) or the clamp to [-1, 1] (HardTanh) of eq. 6.
    """
    kernel = tuple(weight.shape[2:])
    padded = _pad(input, padding)
    result = torch.zeros_like(padded)
    for first, end, top, bottom in _strips(input, weight, stride, padding, dilation):
        strip = padded[:, :, top:bottom]
        columns = F.unfold(strip, kernel, dilation, 0, stride)
        grads = grad_output[:, :, first:end].flatten(2)
        total = torch.zeros_like(columns)
        for filter_, grad in zip(weight.flatten(1), grads.unbind(1), strict=True):
            difference = filter_[:, None] - columns
            difference = difference.sign_() if sign else difference.clamp_(-1, 1)
            total.addcmul_(difference, grad[:, None])
        result[:, :, top:bottom] += F.fold(total, strip.shape[2:], kernel, dilation, 0, stride)
    height, width = input.shape[2:]
    return result[:, :, padding[0]:padding[0] + height, padding[1]:padding[1] + width]
