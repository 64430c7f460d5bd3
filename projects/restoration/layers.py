"""Parts that several restoration networks share: mean shift, residual block, sub-pixel upsampler.

Submodules carry the names of the public EDSR code (`body.0`, `body.2` of a block; the convolutions of the upsampler
at every other index), so that its weights load. The mean shift is made of buffers: it neither trains nor counts.
"""

import torch
from mmcv.cnn import build_conv_layer
from mmengine.registry import MODELS
from torch import nn
from torch.nn import functional as F

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean colour (RGB, 0..1) of the DIV2K training images, as used in the EDSR code."""


def conv(in_channels, out_channels, kernel_size=3, conv_cfg=None, **kwargs):
    """A layer of type `conv_cfg` (None: `nn.Conv2d`) that keeps the size of the image."""
    return build_conv_layer(conv_cfg, in_channels, out_channels, kernel_size, padding=kernel_size // 2, **kwargs)


class MeanShift(nn.Module):
    """Subtracts (`sign=-1`) or adds (`sign=1`) the mean colour.

    Args:
        sign (int): -1 or 1.
        rgb_range (float): Largest value of a pixel, by which the mean is multiplied.
        rgb_mean (tuple[float]): Mean of each channel, 0..1.

    Shape: (N, C, H, W), in and out. `weight` and `bias` are buffers in the shape of a 1x1 convolution's.
    """

    def __init__(self, sign, rgb_range=255.0, rgb_mean=DIV2K_MEAN):
        super().__init__()
        channels = len(rgb_mean)
        self.register_buffer('weight', torch.eye(channels).reshape(channels, channels, 1, 1))
        self.register_buffer('bias', sign * rgb_range * torch.tensor(rgb_mean))

    def forward(self, x):
        return F.conv2d(x, self.weight.to(x.dtype), self.bias.to(x.dtype))


@MODELS.register_module()
class ResidualBlockNoBN(nn.Module):
    """EDSR's residual block: convolution, ReLU, convolution, times `res_scale`, plus the input.

    Args:
        channels (int): Channels in and out.
        res_scale (float): Factor of the residual branch; 0.1 keeps wide networks stable.
        kernel_size (int): Odd side of both windows.
        conv_cfg (dict, optional): Type of both layers.
    """

    def __init__(self, channels, res_scale=1.0, kernel_size=3, conv_cfg=None):
        super().__init__()
        self.res_scale = res_scale
        self.body = nn.Sequential(
            conv(channels, channels, kernel_size, conv_cfg), nn.ReLU(inplace=True),
            conv(channels, channels, kernel_size, conv_cfg))

    def forward(self, x):
        return x + self.body(x) * self.res_scale


class Upsampler(nn.Sequential):
    """Sub-pixel upsampling (arXiv 1609.05158): factors 2, 4 and 8 in steps of 2, factor 3 at once, 1 not at all.

    Args:
        scale (int): 1, 2, 3, 4 or 8.
        channels (int): Channels in and out.
        groups (int): Of the convolutions.
        relu (bool): Whether a ReLU stands between each convolution and its pixel shuffle.
        conv_cfg (dict, optional): Type of the layers.

    Raises:
        ValueError: another scale.
    """

    def __init__(self, scale, channels, groups=1, relu=False, conv_cfg=None):
        if scale not in (1, 2, 3, 4, 8):
            raise ValueError(f'upscale_factor={scale!r}: expected 1, 2, 3, 4 or 8')
        steps = [3] if scale == 3 else [2] * (scale.bit_length() - 1)
        layers = []
        for step in steps:
            layers.append(conv(channels, channels * step ** 2, conv_cfg=conv_cfg, groups=groups))
            layers += [nn.ReLU(inplace=True)] * relu + [nn.PixelShuffle(step)]
        super().__init__(*layers)
