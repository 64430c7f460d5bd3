"""``Adder2d``: the adder layer (arXiv 1912.13200) with the signature of ``nn.Conv2d``.

It deliberately does not inherit from ``nn.Conv2d``: initialisers that match 'Conv2d' must leave it alone, tools
that count multiplications must not take it for one, and fusing a batch norm into its filters would be wrong.
"""

import torch
from mmengine.registry import MODELS
from torch import nn
from torch.nn.modules.utils import _pair

from .functional import BACKENDS, GRAD_INPUT_RULES, adder2d

ADAPTIVE_LR = ('backward', 'optimizer', None)


@MODELS.register_module()
class Adder2d(nn.Module):
    """2D adder layer, usable wherever OpenMMLab takes ``conv_cfg=dict(type='Adder2d')``.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, bias, device, dtype: as ``nn.Conv2d``;
            padding may be 'valid', or 'same' for odd windows and stride 1.
        groups (int): must be 1. No published adder network is grouped, and none is guessed here.
        padding_mode (str): must be 'zeros' (ConvModule pads in other modes by itself).
        grad_input (str): 'hardtanh' (classification, super-resolution) or 'sign' (detection, arXiv 2112.13608).
        eta (float): strength of the adaptive filter gradient, 0.2 in the official code.
        adaptive_lr (str or None): where the adaptive factor is applied. 'backward' as the official code does;
            'optimizer' leaves the gradient raw for :class:`AdderOptimWrapperConstructor`, which scales it once per
            step (needed with AMP, gradient accumulation, several uses of one layer); None never.
        backend (str): see :func:`adder2d`.

    Shape: (N, C, H, W) to (N, C_out, H_out, W_out). Outputs are never positive before the bias and have a large
    variance: every published network normalises them at once.

    Raises:
        ValueError: an argument that the layer does not support, with the one that it expects.
    """

    transposed = False
    output_padding = (0, 0)

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
                 padding_mode='zeros', device=None, dtype=None, *, grad_input='hardtanh', eta=0.2,
                 adaptive_lr='backward', backend='auto'):
        super().__init__()
        for name, value, allowed in (('groups', groups, (1,)), ('padding_mode', padding_mode, ('zeros',)),
                                     ('grad_input', grad_input, GRAD_INPUT_RULES), ('backend', backend, BACKENDS),
                                     ('adaptive_lr', adaptive_lr, ADAPTIVE_LR)):
            if value not in allowed:
                raise ValueError(f'Adder2d: {name}={value!r} is not supported, expected one of {allowed}')
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.dilation = map(_pair, (kernel_size, stride, dilation))
        self.padding = self._padding(padding)
        self.groups, self.padding_mode = groups, padding_mode
        self.grad_input, self.eta, self.adaptive_lr, self.backend = grad_input, eta, adaptive_lr, backend
        place = dict(device=device, dtype=dtype)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *self.kernel_size, **place))
        self.bias = nn.Parameter(torch.empty(out_channels, **place)) if bias else None
        self.init_weights()

    def _padding(self, padding):
        if padding == 'valid':
            return (0, 0)
        if padding != 'same':
            return _pair(padding)
        spans = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        if self.stride != (1, 1) or any(span % 2 for span in spans):
            raise ValueError("Adder2d: padding='same' needs stride 1 and an odd window, got "
                             f'stride={self.stride}, kernel_size={self.kernel_size}; give a number')
        return tuple(span // 2 for span in spans)

    def init_weights(self):
        """Filters from N(0, 1), bias from U(0, 1), as in the official code.

        OpenMMLab's ConvModule would otherwise re-initialise the layer like a convolution.
        """
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.uniform_(self.bias)

    def forward(self, input):
        eta = self.eta if self.adaptive_lr == 'backward' else None
        return adder2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation,
                       grad_input=self.grad_input, eta=eta, backend=self.backend)

    def extra_repr(self):
        return (f'{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, '
                f'padding={self.padding}, dilation={self.dilation}, bias={self.bias is not None}, '
                f'grad_input={self.grad_input!r}, eta={self.eta}, adaptive_lr={self.adaptive_lr!r}')
