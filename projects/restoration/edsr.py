"""EDSR: enhanced deep residual network for super-resolution (arXiv 1707.02921).

A trunk of residual blocks without batch norm at the size of the input, closed by a skip around it, then sub-pixel
upsampling. Two sizes are published: EDSR with 32 blocks of 256 channels and `res_scale` 0.1, and EDSR-baseline with
16 blocks of 64 channels. Parameter names, initialisation (torch's) and pixel range (0..255) are those of the public
PyTorch code, so that its weights load. mmagic's twin works in 0..1 and shrinks the initial weights of the baseline.
"""

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import nn

from .layers import DIV2K_MEAN, MeanShift, Upsampler, conv


@MODELS.register_module()
class EDSR(BaseModule):
    """EDSR; argument names are mmagic's.

    Args:
        in_channels, out_channels (int): Channels of the image; only 3 with the default mean.
        mid_channels (int): Channels of the trunk.
        num_blocks (int): Residual blocks.
        upscale_factor (int): 1, 2, 3, 4 or 8.
        res_scale (float): Factor of each residual branch.
        rgb_range (float): Largest value of a pixel: 255, or 1 after division by 255 in the data preprocessor.
        rgb_mean (tuple[float]): Mean colour in 0..1, subtracted before the trunk and added at the end.
        block (dict): Type, and further arguments, of the blocks; they get `channels`, `res_scale` and `conv_cfg`.
        conv_cfg (dict, optional): Type of the layers inside the blocks. None is `nn.Conv2d`.
        body_end_conv_cfg (dict, optional): Type of the layer that closes the trunk.
        upsampler_conv_cfg (dict, optional): Type of the upsampler's layers.
        init_cfg (dict, optional): As in mmengine, for example pretrained weights.

    Shape: (N, C, H, W) in 0..`rgb_range` to (N, C, sH, sW), not clamped.
    """

    def __init__(self, in_channels=3, out_channels=3, mid_channels=64, num_blocks=16, upscale_factor=4, res_scale=1.0,
                 rgb_range=255.0, rgb_mean=DIV2K_MEAN, block=None, conv_cfg=None, body_end_conv_cfg=None,
                 upsampler_conv_cfg=None, init_cfg=None):
        super().__init__(init_cfg)
        defaults = dict(type='ResidualBlockNoBN', channels=mid_channels, res_scale=res_scale, conv_cfg=conv_cfg)
        block = defaults | dict(block or {})
        self.sub_mean = MeanShift(-1, rgb_range, rgb_mean)
        self.add_mean = MeanShift(1, rgb_range, rgb_mean)
        self.head = nn.Sequential(conv(in_channels, mid_channels))
        self.body = nn.Sequential(
            *[MODELS.build(dict(block)) for _ in range(num_blocks)],
            conv(mid_channels, mid_channels, conv_cfg=body_end_conv_cfg))
        self.tail = nn.Sequential(
            Upsampler(upscale_factor, mid_channels, conv_cfg=upsampler_conv_cfg), conv(mid_channels, out_channels))

    def forward(self, x):
        x = self.head(self.sub_mean(x))
        return self.add_mean(self.tail(x + self.body(x)))
