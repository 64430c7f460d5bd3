"""VDSR: very deep super-resolution network (arXiv 1511.04587).

The luma is enlarged bicubically first, and 20 layers at full size predict what is missing. One set of weights serves
all scales. Without biases and with He's normal initialisation over the outputs, as in the common re-implementations.
Enlarging belongs to the network here (by the MATLAB rule), so that it takes low-resolution images like the others.
"""

import math

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import nn

from .imresize import imresize
from .layers import conv


@MODELS.register_module()
class ConvReLU(nn.Module):
    """VDSR's inner layer: 3x3 convolution without bias, ReLU.

    Args:
        channels (int): Channels in and out.
        conv_cfg (dict, optional): Type of the layer.
    """

    def __init__(self, channels, conv_cfg=None):
        super().__init__()
        self.conv = conv(channels, channels, conv_cfg=conv_cfg, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.conv(x))


@MODELS.register_module()
class VDSR(BaseModule):
    """VDSR. It works on luma: give the data preprocessor `channels='y'`, and `std` 255 for the range 0..1.

    Args:
        in_channels (int): Channels of the image, in and out; the published network has 1.
        mid_channels (int): Channels of the layers.
        num_layers (int): Layers, the first and the last one included.
        upscale_factor (int): Scale where `forward` is given none.
        block (dict): Type, and further arguments, of the inner layers; they get `channels` and `conv_cfg`.
        conv_cfg (dict, optional): Type of the inner layers' convolutions. None is `nn.Conv2d`.
        init_cfg (dict, optional): As in mmengine.

    Shape: (N, C, H, W) to (N, C, sH, sW), not clamped.
    """

    multi_scale = True  # the restorer passes on each batch's scale

    def __init__(self, in_channels=1, mid_channels=64, num_layers=20, upscale_factor=2, block=None, conv_cfg=None,
                 init_cfg=None):
        super().__init__(init_cfg)
        self.upscale_factor = upscale_factor
        block = dict(type='ConvReLU', channels=mid_channels, conv_cfg=conv_cfg) | dict(block or {})
        self.input = conv(in_channels, mid_channels, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.residual_layer = nn.Sequential(*[MODELS.build(dict(block)) for _ in range(num_layers - 2)])
        self.output = conv(mid_channels, in_channels, bias=False)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                fan_out = layer.out_channels * math.prod(layer.kernel_size)
                nn.init.normal_(layer.weight, std=math.sqrt(2 / fan_out))

    def forward(self, x, scale=None):
        scale = scale or self.upscale_factor
        if scale != 1:
            x = imresize(x, scale)
        return x + self.output(self.residual_layer(self.relu(self.input(x))))
