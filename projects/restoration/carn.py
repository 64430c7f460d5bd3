"""CARN and CARN-M: cascading residual networks (arXiv 1803.08664).

Residual units cascade inside a block, and blocks inside the network: each 1x1 fusion sees the input and all outputs
so far. CARN-M has units of grouped convolutions, one unit for all three places of a block, and grouped upsamplers.
The published weights serve x2, x3 and x4 at once, each with an upsampler of its own. Pixels are in 0..1. Parameter
names are those of the public code. CARN-M has 415 thousand parameters by that code (the paper says 412).
"""

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import nn

from .layers import DIV2K_MEAN, MeanShift, Upsampler, conv

SCALES = (2, 3, 4)


class _Shift(nn.Module):
    """A mean shift under the public code's name for it."""

    def __init__(self, sign):
        super().__init__()
        self.shifter = MeanShift(sign, 1.0, DIV2K_MEAN)

    def forward(self, x):
        return self.shifter(x)


class Fusion(nn.Module):
    """1x1 convolution and ReLU."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.body = nn.Sequential(conv(in_channels, out_channels, 1), nn.ReLU(inplace=True))

    def forward(self, x):
        return self.body(x)


class ResidualUnit(nn.Module):
    """Two 3x3 layers, or with `groups` above 1 two grouped ones and a 1x1 convolution; plus the input; ReLU.

    Args:
        channels (int): Channels in and out.
        groups (int): Of the 3x3 layers.
        conv_cfg (dict, optional): Type of the 3x3 layers.
    """

    def __init__(self, channels, groups=1, conv_cfg=None):
        super().__init__()
        grouped = dict(groups=groups) if groups > 1 else {}
        layers = [conv(channels, channels, conv_cfg=conv_cfg, **grouped), nn.ReLU(inplace=True),
                  conv(channels, channels, conv_cfg=conv_cfg, **grouped)]
        if groups > 1:
            layers += [nn.ReLU(inplace=True), conv(channels, channels, 1)]
        self.body = nn.Sequential(*layers)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.body(x) + x)


class Cascade(BaseModule):
    """Three parts in a row, each followed by a 1x1 fusion of the input and all parts' outputs so far.

    Args:
        channels (int): Channels in and out.
        parts (list[nn.Module]): Three modules, or one that is used in all three places.
    """

    def __init__(self, channels, parts, init_cfg=None):
        super().__init__(init_cfg)
        self.num_parts = len(parts)
        for index, part in enumerate(parts, 1):
            self.add_module(f'b{index}', part)
        for index in (1, 2, 3):
            self.add_module(f'c{index}', Fusion(channels * (index + 1), channels))

    def forward(self, x):
        collected, out = x, x
        for index in (1, 2, 3):
            part = getattr(self, f'b{min(index, self.num_parts)}')
            collected = torch.cat([collected, part(out)], dim=1)
            out = getattr(self, f'c{index}')(collected)
        return out


class _Upsample(nn.Module):
    """One upsampler, or one for each scale."""

    def __init__(self, scales, channels, groups):
        super().__init__()
        self.multi_scale = len(scales) > 1
        for scale in scales:
            name = f'up{scale}' if self.multi_scale else 'up'
            body = nn.ModuleDict(dict(body=Upsampler(scale, channels, groups=groups, relu=True)))
            self.add_module(name, body)

    def forward(self, x, scale):
        return getattr(self, f'up{scale}' if self.multi_scale else 'up')['body'](x)


@MODELS.register_module()
class CARN(Cascade):
    """CARN, or with `groups=4` CARN-M.

    Args:
        mid_channels (int): Channels of all features.
        upscale_factor (int): The scale; with `multi_scale` the one where `forward` is given none.
        multi_scale (bool): One network for x2, x3 and x4, with three upsamplers.
        groups (int): Of the units' and upsamplers' 3x3 layers.
        conv_cfg (dict, optional): Type of the units' 3x3 layers. None is `nn.Conv2d`.
        init_cfg (dict, optional): As in mmengine.

    Shape: (N, 3, H, W) in 0..1 to (N, 3, sH, sW), not clamped.

    Raises:
        ValueError: `forward` is asked for a scale that the network was not built for.
    """

    def __init__(self, mid_channels=64, upscale_factor=4, multi_scale=False, groups=1, conv_cfg=None, init_cfg=None):
        def block():
            units = [ResidualUnit(mid_channels, groups, conv_cfg) for _ in range(3 if groups == 1 else 1)]
            return Cascade(mid_channels, units)

        super().__init__(mid_channels, [block() for _ in range(3)], init_cfg)
        self.scales = SCALES if multi_scale else (upscale_factor,)
        self.multi_scale, self.upscale_factor = multi_scale, upscale_factor
        self.sub_mean, self.add_mean = _Shift(-1), _Shift(1)
        self.entry = conv(3, mid_channels)
        self.upsample = _Upsample(self.scales, mid_channels, groups)
        self.exit = conv(mid_channels, 3)

    def forward(self, x, scale=None):
        scale = scale or self.upscale_factor
        if scale not in self.scales:
            raise ValueError(f'CARN: scale {scale} was asked for, but the network has {self.scales}; set '
                             'upscale_factor or multi_scale of model.generator')
        x = super().forward(self.entry(self.sub_mean(x)))
        return self.add_mean(self.exit(self.upsample(x, scale)))
