"""The integer adder layer as an operator of torch (arXiv 2101.10015 and 2212.10200).

    a = clamp(round(x / s_g), lowest, highest)        y[t] = -s_g * sum |a - v[t]| + b[t],   g the scale of filter t

with codes of ``bits`` bits: lowest, highest = -2^(b-1), 2^(b-1)-1 where activations have both signs, else 0, 2^b-1;
filters v are codes (signed) or, beside unsigned activations, twice their codes, since their step is twice as long.

Two forms give the same bits: `simulate`, with codes held in floats, anywhere; and the compiled kernel on bytes.
A filter value outside of [lowest, highest] is moved to the nearer end there, and what it loses is added as an integer
per filter: |a - v| = |a - v'| + |v - v'| for every a within the range.
"""

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from . import native, reference
from .functional import adder2d

EXACT_INTEGERS = 2 ** 24  # up to here float32 holds every integer
_packed = WeakTensorKeyDictionary()  # codes -> (version, instruction set's panel height, packed form)


def code_range(signed, bits):
    """Lowest and highest activation code, as Python integers."""
    return (-2 ** (bits - 1), 2 ** (bits - 1) - 1) if signed else (0, 2 ** bits - 1)


def filter_integers(codes, signed):
    """Filters in units of the activation step: int16 of the shape of ``codes``."""
    return codes.short() * (1 if signed else 2)


def activation_codes(x, inverse_step, signed, bits):
    """Codes of ``x``, as floats; ``inverse_step`` is 1 / s in float32."""
    return (x * inverse_step).clamp(*code_range(signed, bits)).round_()


def simulate(x, codes, steps, scale_index, signed, bias, stride, padding, dilation, bits):
    """The layer with integers held in floats; see :func:`quant_adder2d`."""
    integers = filter_integers(codes, signed)
    largest = codes[0].numel() * 2 ** (bits + 2) if len(codes) else 0
    dtype = torch.float32 if largest < EXACT_INTEGERS else torch.float64
    size = reference.output_size(x.shape[2:], codes.shape[2:], stride, padding, dilation)
    output = x.new_empty(x.shape[0], codes.shape[0], *size)
    for scale, step in enumerate(steps):
        filters = (scale_index == scale).nonzero().flatten()
        if len(filters):
            a = activation_codes(x, 1 / step, signed, bits)
            sums = adder2d(a.to(dtype), integers[filters].to(dtype), None, stride, padding, dilation, eta=None)
            output[:, filters] = sums.float() * step + bias[filters, None, None]
    return output


class _Packed:
    """Filters of a layer as the compiled kernel reads them: panels of filters that share a scale."""

    def __init__(self, codes, steps, scale_index, signed, bias, bits, panel):
        lowest, highest = code_range(signed, bits)
        integers = filter_integers(codes, signed).int()
        inside = integers.clamp(lowest, highest)
        lost = (integers - inside).abs().sum((1, 2, 3), dtype=torch.int32)
        rows, scales = [], []
        for scale in range(len(steps)):
            filters = (scale_index == scale).nonzero().flatten().int()
            empty = filters.new_full((-len(filters) % panel,), -1)
            rows += [filters, empty]
            scales += [scale] * ((len(filters) + len(empty)) // panel)
        self.rows = torch.cat(rows)
        self.panel_scale = torch.tensor(scales, dtype=torch.int32)
        taken = self.rows.clamp_min(0).long()
        self.weight = self._panels((inside - lowest).byte()[taken], -lowest, panel)
        self.inverse_steps = 1 / steps
        self.output_scale = -steps[scale_index[taken]]
        self.offset, self.bias = lost[taken], bias[taken].contiguous()
        self.range = lowest, highest

    @staticmethod
    def _panels(rows, zero, panel):
        """(filters, C, kH, kW) bytes as (panels, words, panel, 8), channels filled up to whole words of 8."""
        filters, channels, height, width = rows.shape
        words = -(-channels // 8)
        full = rows.new_full((filters, words * 8, height, width), zero)
        full[:, :channels] = rows
        full = full.view(filters // panel, panel, words, 8, height * width).permute(0, 2, 4, 1, 3)
        return full.reshape(filters // panel, words * height * width, panel, 8).contiguous()


def _pack(codes, steps, scale_index, signed, bias, bits):
    panel = native.quant_panel()
    if codes.is_inference():  # carries no version, so nobody could tell whether it changed
        return _Packed(codes, steps, scale_index, signed, bias, bits, panel)
    key = tuple(tensor._version for tensor in (codes, steps, scale_index, signed, bias)), panel
    held = _packed.get(codes)
    if held is None or held[0] != key:
        held = _packed[codes] = key, _Packed(codes, steps, scale_index, bool(signed), bias, bits, panel)
    return held[1]


@torch.library.custom_op('mmdownstream::quant_adder2d', mutates_args=(), schema=(
    '(Tensor input, Tensor codes, Tensor steps, Tensor scale_index, Tensor signed, Tensor bias, int[2] stride, '
    'int[2] padding, int[2] dilation, int bits, bool simulated) -> Tensor'))
def quant_adder2d(input, codes, steps, scale_index, signed, bias, stride, padding, dilation, bits, simulated):
    """The integer layer; on the CPU in integers, unless ``simulated``, elsewhere in floats that hold integers.

    Args:
        input (Tensor): (N, C, H, W), float32.
        codes (Tensor): (C_out, C, kH, kW), int8, codes of the filters.
        steps (Tensor): (S,), float32, activation step of each scale.
        scale_index (Tensor): (C_out,), int64, scale of each filter.
        signed (Tensor): (), bool, whether activations have both signs.
        bias (Tensor): (C_out,), float32.
        stride, padding, dilation (tuple[int, int]): as in a convolution.
        bits (int): 2 to 8.
        simulated (bool): never use the compiled kernel.

    Returns:
        Tensor: (N, C_out, H_out, W_out), float32. There is no gradient.
    """
    with torch.autocast(input.device.type, enabled=False):
        if simulated or input.device.type != 'cpu' or not native.available():
            return simulate(input, codes, steps, scale_index, bool(signed), bias, stride, padding, dilation, bits)
        packed = _pack(codes, steps, scale_index, signed, bias, bits)
        return native.quant_forward(input, packed, len(codes), codes.shape[2:], stride, padding, dilation)


@quant_adder2d.register_fake
def _(input, codes, steps, scale_index, signed, bias, stride, padding, dilation, bits, simulated):
    size = reference.output_size(input.shape[2:], codes.shape[2:], stride, padding, dilation)
    return input.new_empty(input.shape[0], codes.shape[0], *size)
