"""Gates: from the backbone's levels to one choice for each image and level (arXiv 2012.00779).

Official code: ``PoolFCGate`` is the released ``DyFPN_B_CNNGate``; the others follow byte code of the authors' ablation
files that lies in Mingjian-Zhu/DyFPN. A gate returns logits; :class:`projects.dyfpn.DyFPN` samples from them.

Deviation: gates compute in the precision of their own weights, float32, also under automatic mixed precision.
"""

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import nn

OPEN_BIAS = (0.1, 2.0)
"""First bias of the logits [closed, open] of structure B: about 87 of 100 gates begin open."""


def _pooled(x, dtype):
    return x.mean((2, 3), dtype=dtype)


def _set_bias(layer, bias, choices):
    """Set the last layer's bias; 'auto' means `OPEN_BIAS` for two choices, and torch's own otherwise."""
    if bias == 'auto':
        bias = OPEN_BIAS if choices == 2 else None
    if bias is None:
        return
    if len(bias) != choices:
        raise ValueError(f'neck.gate.init_bias={bias!r}: expected {choices} numbers, one for each choice')
    with torch.no_grad():
        layer.bias.copy_(torch.tensor(bias))


class Gate(BaseModule):
    """What all gates share.

    Args:
        in_channels (list[int]): channels of the levels.
        num_choices (int): number of choices of each level: 2 in structure B, one for each branch in structure A.
        init_cfg (dict, optional): initialisation of the parameters.

    Shape: list of (N, in_channels[i], H_i, W_i) to a list of logits (N, num_choices).

    Attributes:
        always_sampled (bool): sample in evaluation mode, too, instead of taking the most probable choice.
    """

    always_sampled = False

    def __init__(self, in_channels, num_choices, init_cfg=None):
        super().__init__(init_cfg)
        self.in_channels, self.num_choices = list(in_channels), num_choices


@MODELS.register_module()
class PoolFCGate(Gate):
    """Global average pooling and two linear layers for each level, "CNN gate a", the released one.

    Args:
        reduction (int): the hidden layer has C / reduction units.
        init_bias (sequence of float, None or 'auto'): of the logits; 'auto': `OPEN_BIAS` for two choices, else None.
        in_channels, num_choices, init_cfg: see :class:`Gate`.
    """

    def __init__(self, in_channels, num_choices, reduction=4, init_bias='auto', init_cfg=None):
        super().__init__(in_channels, num_choices, init_cfg)
        self.levels = nn.ModuleList()
        for channels in in_channels:
            last = nn.Linear(channels // reduction, num_choices)
            _set_bias(last, init_bias, num_choices)
            self.levels.append(nn.Sequential(nn.Linear(channels, channels // reduction), nn.ReLU(), last))

    def forward(self, maps):
        return [level(_pooled(x, level[0].weight.dtype)) for level, x in zip(self.levels, maps, strict=True)]


@MODELS.register_module()
class ConvGate(Gate):
    """A 3x3 convolution of stride 2, pooling, ReLU and a linear layer for each level, "CNN gate b".

    It costs 9 C^2 parameters for each level, 37.8 million for C = 2048. Maps must be at least 3x3.

    Args:
        init_bias: see :class:`PoolFCGate`.
        in_channels, num_choices, init_cfg: see :class:`Gate`.
    """

    def __init__(self, in_channels, num_choices, init_bias='auto', init_cfg=None):
        super().__init__(in_channels, num_choices, init_cfg)
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, stride=2) for channels in in_channels)
        self.fcs = nn.ModuleList(nn.Linear(channels, num_choices) for channels in in_channels)
        for fc in self.fcs:
            _set_bias(fc, init_bias, num_choices)

    def forward(self, maps):
        pooled = [_pooled(conv(x.to(conv.weight.dtype)), conv.weight.dtype)
                  for conv, x in zip(self.convs, maps, strict=True)]
        return [fc(x.relu()) for fc, x in zip(self.fcs, pooled, strict=True)]


@MODELS.register_module()
class RNNGate(Gate):
    """A recurrent network that walks over the levels, so that one level's choice can know of the others.

    Pooled features of each level are mapped to ``hidden`` numbers by a layer of its own; a GRU or LSTM of one layer and
    one direction reads them; the same linear layer turns every state into logits.

    Args:
        cell (str): 'gru' or 'lstm'.
        direction (str): 'upward' reads from the finest level to the coarsest, 'downward' the other way.
        hidden (int): size of input and state.
        in_channels, num_choices, init_cfg: see :class:`Gate`.

    Raises:
        ValueError: unknown cell or direction.
    """

    CELLS = dict(gru=nn.GRU, lstm=nn.LSTM)
    DIRECTIONS = ('upward', 'downward')

    def __init__(self, in_channels, num_choices, cell='gru', direction='upward', hidden=16, init_cfg=None):
        super().__init__(in_channels, num_choices, init_cfg)
        if cell not in self.CELLS:
            raise ValueError(f'neck.gate.cell={cell!r}, expected one of {tuple(self.CELLS)}')
        if direction not in self.DIRECTIONS:
            raise ValueError(f'neck.gate.direction={direction!r}, expected one of {self.DIRECTIONS}')
        self.direction = direction
        self.inputs = nn.ModuleList(nn.Linear(channels, hidden) for channels in in_channels)
        self.rnn = self.CELLS[cell](hidden, hidden, batch_first=True)
        self.output = nn.Linear(hidden, num_choices)

    def forward(self, maps):
        dtype = self.output.weight.dtype
        sequence = [layer(_pooled(x, dtype)) for layer, x in zip(self.inputs, maps, strict=True)]
        step = 1 if self.direction == 'upward' else -1
        states, _ = self.rnn(torch.stack(sequence[::step], 1))
        return list(self.output(states).unbind(1))[::step]


@MODELS.register_module()
class RandomGate(Gate):
    """The control: every image and level chooses at random, in training and in evaluation.

    The authors' control of structure B opens with probability 1/7, probably by a slip; a fair control has the open rate
    of the learned gates.

    Args:
        probabilities (sequence of float, optional): of the choices, all positive; [closed, open] in structure B.
            Default: equal.
        in_channels, num_choices, init_cfg: see :class:`Gate`.

    Raises:
        ValueError: not one positive probability for each choice.
    """

    always_sampled = True

    def __init__(self, in_channels, num_choices, probabilities=None, init_cfg=None):
        super().__init__(in_channels, num_choices, init_cfg)
        probabilities = probabilities or [1 / num_choices] * num_choices
        if len(probabilities) != num_choices or min(probabilities) <= 0:
            raise ValueError(f'neck.gate.probabilities={probabilities!r}: expected {num_choices} positive numbers')
        self.register_buffer('logits', torch.tensor(probabilities).log(), persistent=False)

    def forward(self, maps):
        return [self.logits.expand(len(x), -1) for x in maps]
