"""Functional form of the 2D adder layer, "AdderNet: Do We Really Need Multiplications in Deep Learning?"
(arXiv 1912.13200); official code: huawei-noah/AdderNet.

    y[n, t, m, q] = -sum_{k, i, j} |x[n, k, m*s + i - p, q*s + j - p] - w[t, k, i, j]|  (+ b[t])

Zero padding takes part: a padded position contributes -|w|. Gradients are those of the paper, not of the formula:

* input (eq. 6, 7): clamp(w - x, -1, 1), or its sign, which is the exact derivative and the choice of the
  detection paper (arXiv 2112.13608);
* filters (eq. 5): x - w ("full precision"), scaled by eta * sqrt(k) / ||g||_2 (eq. 12, 13), k the number of
  elements of the filter bank;
* bias: the plain sum, never scaled.

Departures from the official code: tuples and dilation are accepted; the filter gradient is computed as a
convolution's filter gradient minus w times the sum of grad_output (the same value, one matrix product).
"""

import torch
from torch.nn.grad import conv2d_weight
from torch.nn.modules.utils import _pair

from . import native, reference

BACKENDS = ('auto', 'native', 'triton', 'reference')
GRAD_INPUT_RULES = ('hardtanh', 'sign')
MIN_NORM = 1e-12  # floor of ||g|| in the official code


def adaptive_gradient(raw, eta):
    """The raw filter gradient scaled to norm ``eta * sqrt(k)``, k its number of elements (eq. 13); zero stays zero."""
    return raw * (eta * raw.numel() ** 0.5 / raw.norm().clamp_min(MIN_NORM))


def select_backend(backend, input):
    """Module with the kernels for ``input``: float32 goes to ``native`` on the CPU and ``triton_kernels`` on a GPU,
    where they are there; all else to ``reference``.

    Raises:
        ValueError: an unknown name, or a back end that cannot serve this tensor.
    """
    on_cpu = input.device.type == 'cpu' and input.dtype == torch.float32
    on_gpu = input.device.type == 'cuda' and input.dtype == torch.float32
    if backend == 'reference':
        return reference
    if backend == 'auto':
        if on_cpu and not native.available():
            native.warn_missing()
        if on_gpu and _triton().available():
            return _triton()
        return native if on_cpu and native.available() else reference
    if backend == 'native':
        if not native.available():
            raise ValueError(f"adder2d: backend='native' is not built ({native.WHY_MISSING}); use 'auto', or run "
                             '`pip install --no-build-isolation -e .` with a C++ compiler')
        if not on_cpu:
            raise ValueError(f"adder2d: backend='native' takes float32 on the CPU, got {input.dtype} on "
                             f"{input.device}; use 'auto' or 'reference'")
        return native
    if backend == 'triton':
        return _triton()  # says itself what it lacks
    raise ValueError(f'adder2d: backend={backend!r}, expected one of {BACKENDS}')


def _triton():
    from . import triton_kernels  # importing Triton takes half a second, which a CPU need not spend
    return triton_kernels


# The two kernels as operators of torch, so that torch.compile, torch.export and the ONNX exporter see one opaque node
# with a known output shape. Half precision ends before them: autocast is off inside.
_SCHEMA = 'int[2] stride, int[2] padding, int[2] dilation, '


@torch.library.custom_op('mmdownstream::adder2d', mutates_args=(), schema=(
    f'(Tensor input, Tensor weight, {_SCHEMA}bool sign, float? eta, str backend) -> Tensor'))
def _adder2d(input, weight, stride, padding, dilation, sign, eta, backend):
    with torch.autocast(input.device.type, enabled=False):
        return select_backend(backend, input).forward(input, weight, stride, padding, dilation)


@_adder2d.register_fake
def _(input, weight, stride, padding, dilation, sign, eta, backend):
    size = reference.output_size(input.shape[2:], weight.shape[2:], stride, padding, dilation)
    return input.new_empty(input.shape[0], weight.shape[0], *size)


@torch.library.custom_op('mmdownstream::adder2d_grad_input', mutates_args=(), schema=(
    f'(Tensor grad_output, Tensor input, Tensor weight, {_SCHEMA}bool sign, str backend) -> Tensor'))
def _grad_input(grad_output, input, weight, stride, padding, dilation, sign, backend):
    with torch.autocast(input.device.type, enabled=False):
        return select_backend(backend, input).grad_input(grad_output, input, weight, stride, padding, dilation, sign)


@_grad_input.register_fake
def _(grad_output, input, weight, stride, padding, dilation, sign, backend):
    return torch.empty_like(input, memory_format=torch.contiguous_format)


def _setup_context(ctx, inputs, output):
    input, weight, *geometry, ctx.sign, ctx.eta, ctx.backend = inputs
    ctx.save_for_backward(input, weight)
    ctx.geometry = geometry


def _backward(ctx, grad_output):
    input, weight = ctx.saved_tensors
    grad_input = grad_weight = None
    if ctx.needs_input_grad[0]:
        grad_input = _grad_input(grad_output, input, weight, *ctx.geometry, ctx.sign, ctx.backend)
    if ctx.needs_input_grad[1]:
        grad_weight = conv2d_weight(input, weight.shape, grad_output, *ctx.geometry)
        grad_weight = grad_weight - weight * grad_output.sum((0, 2, 3))[:, None, None, None]
        if ctx.eta is not None:
            grad_weight = adaptive_gradient(grad_weight, ctx.eta)
    return grad_input, grad_weight, None, None, None, None, None, None


torch.library.register_autograd('mmdownstream::adder2d', _backward, setup_context=_setup_context)


def _check(input, weight, bias, geometry, grad_input):
    if grad_input not in GRAD_INPUT_RULES:
        raise ValueError(f'adder2d: grad_input={grad_input!r}, expected one of {GRAD_INPUT_RULES}')
    if input.dim() != 4 or weight.dim() != 4 or input.shape[1] != weight.shape[1]:
        raise ValueError('adder2d: expected input (N, C, H, W) or (C, H, W) and weight (C_out, C, kH, kW) with the '
                         f'same C and no groups, got {tuple(input.shape)} and {tuple(weight.shape)}')
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f'adder2d: expected a bias of shape ({weight.shape[0]},), got {tuple(bias.shape)}')
    stride, padding, dilation = geometry
    if min(*stride, *dilation) < 1 or min(padding) < 0:
        raise ValueError(f'adder2d: stride={stride} and dilation={dilation} must be positive and '
                         f'padding={padding} not negative')
    size = reference.output_size(input.shape[2:], weight.shape[2:], *geometry)
    if min(size) < 1:
        raise ValueError(f'adder2d: the window {tuple(weight.shape[2:])} with dilation {dilation} is larger than '
                         f'the input {tuple(input.shape[2:])} padded by {padding}')


def adder2d(input, weight, bias=None, stride=1, padding=0, dilation=1, *, grad_input='hardtanh', eta=0.2,
            backend='auto'):
    """Negative l1 distance between every window of the input and every filter (arXiv 1912.13200).

    Args:
        input (Tensor): (N, C, H, W) or (C, H, W), floating point. Half precision, also inside an autocast region,
            is computed in float32: outputs are sums of thousands.
        weight (Tensor): (C_out, C, kH, kW).
        bias (Tensor, optional): (C_out,), added to the output.
        stride, padding, dilation (int or tuple[int, int]): as in a convolution.
        grad_input (str): 'hardtanh' clamps w - x to [-1, 1], 'sign' takes its sign.
        eta (float or None): factor of the adaptive filter gradient; None returns the raw gradient.
        backend (str): 'auto', 'native' (compiled, CPU, float32), 'triton' (GPU, float32) or 'reference' (plain torch,
            anywhere).

    Returns:
        Tensor: (N, C_out, H_out, W_out), or without N; float32, or float64 for float64 input.

    Raises:
        ValueError: shapes, options or a back end that do not fit.
    """
    if input.dim() == 3:
        return adder2d(input[None], weight, bias, stride, padding, dilation, grad_input=grad_input, eta=eta,
                       backend=backend)[0]
    geometry = (_pair(stride), _pair(padding), _pair(dilation))
    _check(input, weight, bias, geometry, grad_input)
    dtype = torch.float64 if torch.float64 in (input.dtype, weight.dtype) else torch.float32
    output = _adder2d(input.to(dtype), weight.to(dtype), *geometry, grad_input == 'sign', eta, backend)
    return output if bias is None else output + bias.to(dtype)[:, None, None]
