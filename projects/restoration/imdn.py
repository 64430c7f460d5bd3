"""IMDN: information multi-distillation network (arXiv 1909.11856).

Each block splits off a quarter of its channels after every layer, keeps them, refines the rest, and weighs the kept
ones by contrast-aware channel attention (mean plus standard deviation of each channel over the whole image, hence
tiles never give exactly what the whole image gives). Pixels are in 0..1, no mean is subtracted. Parameter names are
those of the public code.
"""

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import nn

from .layers import conv

SLOPE = 0.05


class ContrastAttention(nn.Module):
    """Contrast-aware channel attention.

    Args:
        channels (int): Channels in and out.
        reduction (int): Factor by which the inner layer is narrower.
    """

    def __init__(self, channels, reduction=16):
        super().__init__()
        self.conv_du = nn.Sequential(
            conv(channels, channels // reduction, 1), nn.ReLU(inplace=True),
            conv(channels // reduction, channels, 1), nn.Sigmoid())

    def forward(self, x):
        mean = x.mean(dim=(2, 3), keepdim=True)
        variance = (x - mean).square().mean(dim=(2, 3), keepdim=True)
        # The root's gradient is infinite at 0, which a channel that is constant over a patch would reach.
        contrast = variance.clamp(min=1e-12).sqrt()
        return x * self.conv_du(contrast + mean)


class DistillationBlock(nn.Module):
    """Information multi-distillation block (IMDB).

    Args:
        channels (int): Channels in and out.
        conv_cfg (dict, optional): Type of the layers `c1`, `c2`, `c3`.
    """

    def __init__(self, channels, conv_cfg=None):
        super().__init__()
        kept = channels // 4
        self.split = (kept, channels - kept)
        self.c1 = conv(channels, channels, conv_cfg=conv_cfg)
        self.c2 = conv(channels - kept, channels, conv_cfg=conv_cfg)
        self.c3 = conv(channels - kept, channels, conv_cfg=conv_cfg)
        self.c4 = conv(channels - kept, kept)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)
        self.c5 = conv(channels, channels, 1)
        self.cca = ContrastAttention(4 * kept)

    def forward(self, x):
        distilled, remaining = [], x
        for layer in (self.c1, self.c2, self.c3):
            kept, remaining = self.act(layer(remaining)).split(self.split, dim=1)
            distilled.append(kept)
        distilled.append(self.c4(remaining))
        return self.c5(self.cca(torch.cat(distilled, dim=1))) + x


@MODELS.register_module()
class IMDN(BaseModule):
    """IMDN.

    Args:
        in_channels, out_channels (int): Channels of the image.
        mid_channels (int): Channels of all features, a multiple of 16.
        num_blocks (int): Distillation blocks.
        upscale_factor (int): Any positive number; one pixel shuffle for all of it.
        conv_cfg (dict, optional): Type of the first three layers of each block. None is `nn.Conv2d`.
        init_cfg (dict, optional): As in mmengine.

    Shape: (N, C, H, W) to (N, C, sH, sW), not clamped.
    """

    def __init__(self, in_channels=3, out_channels=3, mid_channels=64, num_blocks=6, upscale_factor=4, conv_cfg=None,
                 init_cfg=None):
        super().__init__(init_cfg)
        self.num_blocks = num_blocks
        self.fea_conv = conv(in_channels, mid_channels)
        for index in range(1, num_blocks + 1):
            self.add_module(f'IMDB{index}', DistillationBlock(mid_channels, conv_cfg))
        self.c = nn.Sequential(conv(mid_channels * num_blocks, mid_channels, 1), nn.LeakyReLU(SLOPE, inplace=True))
        self.LR_conv = conv(mid_channels, mid_channels)
        self.upsampler = nn.Sequential(
            conv(mid_channels, out_channels * upscale_factor ** 2), nn.PixelShuffle(upscale_factor))

    def forward(self, x):
        first = x = self.fea_conv(x)
        outputs = []
        for index in range(1, self.num_blocks + 1):
            x = getattr(self, f'IMDB{index}')(x)
            outputs.append(x)
        return self.upsampler(self.LR_conv(self.c(torch.cat(outputs, dim=1))) + first)
