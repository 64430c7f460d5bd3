"""``QuantAdder2d``: an adder layer on integers, for inference (arXiv 2101.10015 and 2212.10200).

|a - v| keeps its meaning only when both sides have one step, so activations and filters of a layer share it: one
step a layer, or one for each of a few groups of filters. :mod:`.quantization` finds the steps.
"""

import torch
from mmengine.registry import MODELS
from torch import nn

from .layer import Adder2d
from .quant_functional import quant_adder2d


@MODELS.register_module()
class QuantAdder2d(nn.Module):
    """Integer counterpart of :class:`Adder2d`; usable as ``conv_cfg=dict(type='QuantAdder2d')``.

    It holds no parameters, only buffers, which a checkpoint of ``tools/analysis_tools/quantize_adder.py`` fills:
    ``codes`` (C_out, C, kH, kW) int8, ``steps`` (num_scales,), ``scale_index`` (C_out,), ``signed`` (), ``bias``
    (C_out,). On the CPU the compiled kernel works on bytes; elsewhere, and with ``simulated``, floats hold the
    integers, with the same result to the bit.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode: as
            :class:`Adder2d`. A bias buffer is always there: clamped filters need it.
        bits (int): 2 to 8, of activations and filters alike.
        num_scales (int): groups of filters with a step of their own.
        simulated (bool): never use the compiled kernel.

    Shape: (N, C, H, W) to (N, C_out, H_out, W_out), float32.

    Raises:
        ValueError: arguments out of range; ``forward`` on something that needs a gradient.
    """

    transposed = False
    output_padding = (0, 0)

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
                 padding_mode='zeros', *, bits=8, num_scales=1, simulated=False):
        super().__init__()
        if not 2 <= bits <= 8 or num_scales < 1:
            raise ValueError(f'QuantAdder2d: bits={bits} must be 2 to 8 and num_scales={num_scales} at least 1')
        with torch.device('meta'):  # checks the arguments as the float layer does; no memory
            like = Adder2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
                           padding_mode)
        for name in ('in_channels', 'out_channels', 'kernel_size', 'stride', 'padding', 'dilation', 'groups',
                     'padding_mode'):
            setattr(self, name, getattr(like, name))
        self.bits, self.num_scales, self.simulated = bits, num_scales, simulated
        self.register_buffer('codes', torch.zeros(like.weight.shape, dtype=torch.int8))
        self.register_buffer('steps', torch.ones(num_scales))
        self.register_buffer('scale_index', torch.zeros(out_channels, dtype=torch.long))
        self.register_buffer('signed', torch.tensor(True))
        self.register_buffer('bias', torch.zeros(out_channels))

    def init_weights(self):
        """Nothing to draw: the values come from a checkpoint. Keeps ConvModule from looking for a weight."""

    def forward(self, input):
        if input.requires_grad and torch.is_grad_enabled():
            raise ValueError('QuantAdder2d: there is no gradient through integers. Train the float model, quantise it '
                             'afterwards, and run this one under torch.no_grad()')
        batched = input if input.dim() == 4 else input[None]
        output = quant_adder2d(batched.float(), self.codes, self.steps, self.scale_index, self.signed, self.bias,
                               self.stride, self.padding, self.dilation, self.bits, self.simulated)
        return output if input.dim() == 4 else output[0]

    def extra_repr(self):
        return (f'{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, '
                f'padding={self.padding}, dilation={self.dilation}, bits={self.bits}, num_scales={self.num_scales}, '
                f'simulated={self.simulated}')
