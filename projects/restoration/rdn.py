"""RDN: residual dense network (arXiv 1802.08797), 16 blocks of 8 densely connected layers with growth 64.

Parameter names are mmagic's. No mean is subtracted; pixels are in 0..1.
"""

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import nn

from .layers import Upsampler, conv


class DenseLayer(nn.Module):
    """3x3 layer and ReLU, whose output is appended to the channels of the input.

    Args:
        in_channels (int): Channels in.
        growth (int): Channels appended.
        conv_cfg (dict, optional): Type of the layer.
    """

    def __init__(self, in_channels, growth, conv_cfg=None):
        super().__init__()
        self.conv = conv(in_channels, growth, conv_cfg=conv_cfg)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return torch.cat([x, self.relu(self.conv(x))], dim=1)


class ResidualDenseBlock(nn.Module):
    """Dense layers, fused to the input's channels by a 1x1 convolution, plus the input.

    Args:
        channels (int): Channels in and out.
        growth (int): Channels that each layer appends.
        num_layers (int): Dense layers.
        conv_cfg (dict, optional): Type of the dense layers.
    """

    def __init__(self, channels, growth, num_layers, conv_cfg=None):
        super().__init__()
        self.layers = nn.Sequential(*[DenseLayer(channels + i * growth, growth, conv_cfg) for i in range(num_layers)])
        self.lff = conv(channels + num_layers * growth, channels, 1)

    def forward(self, x):
        return x + self.lff(self.layers(x))


@MODELS.register_module()
class RDN(BaseModule):
    """RDN; argument names are mmagic's.

    Args:
        in_channels, out_channels (int): Channels of the image.
        mid_channels (int): Channels between the blocks.
        num_blocks, num_layers (int): Blocks (the paper's D), dense layers in each (C).
        channel_growth (int): Channels that a dense layer appends (G).
        upscale_factor (int): 1, 2, 3, 4 or 8.
        conv_cfg (dict, optional): Type of the dense layers. None is `nn.Conv2d`.
        init_cfg (dict, optional): As in mmengine.

    Shape: (N, C, H, W) to (N, C, sH, sW), not clamped.
    """

    def __init__(self, in_channels=3, out_channels=3, mid_channels=64, num_blocks=16, upscale_factor=4, num_layers=8,
                 channel_growth=64, conv_cfg=None, init_cfg=None):
        super().__init__(init_cfg)
        self.sfe1 = conv(in_channels, mid_channels)
        self.sfe2 = conv(mid_channels, mid_channels)
        self.rdbs = nn.ModuleList([
            ResidualDenseBlock(mid_channels, channel_growth, num_layers, conv_cfg) for _ in range(num_blocks)])
        self.gff = nn.Sequential(conv(mid_channels * num_blocks, mid_channels, 1), conv(mid_channels, mid_channels))
        self.upscale = Upsampler(upscale_factor, mid_channels)
        self.output = conv(mid_channels, out_channels)

    def forward(self, x):
        shallow = self.sfe1(x)
        x, features = self.sfe2(shallow), []
        for block in self.rdbs:
            x = block(x)
            features.append(x)
        return self.output(self.upscale(self.gff(torch.cat(features, dim=1)) + shallow))
