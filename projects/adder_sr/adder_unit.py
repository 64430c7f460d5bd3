"""The adder unit of AdderSR (arXiv 2009.08891) and EDSR's residual block made of two.

An adder layer cannot represent the identity (theorem 1), which super-resolution needs in nearly every layer, since
output and input share their texture. So each layer adds its input (eq. 7). The order of operations is that of the
paper's authors (answers in the tracker of huawei-noah/AdderNet), who add the input behind the batch norm:

    adder layer -> batch norm -> + input -> ReLU -> power activation

A batch norm stands behind every adder layer, although EDSR and VDSR have none.
"""

from mmcv.cnn import build_norm_layer
from mmengine.registry import MODELS
from torch import nn

from projects.restoration.layers import conv

ADDER = dict(type='Adder2d')
NORM = dict(type='BN')
POWER = dict(type='PowerActivation')


@MODELS.register_module()
class AdderUnit(nn.Module):
    """Adder layer, batch norm, self-shortcut, ReLU, power activation.

    It is built like a convolution and keeps the size of the image, so any network with pluggable layers takes it as
    `conv_cfg=dict(type='AdderUnit', relu=False)`; `relu=False` where a ReLU, or none, follows in the network itself.

    Args:
        channels (int): Channels in.
        out_channels (int, optional): Channels out; by default as many.
        kernel_size (int): Odd side of the window.
        self_shortcut (bool): Add the input behind the norm. Layers that change the number of channels have none.
        relu (bool): Whether a ReLU follows.
        conv_cfg (dict, optional): Type of the layer. None is `nn.Conv2d`, for the convolutional twin.
        norm_cfg (dict): Type of the norm. The authors tried batch norm alone.
        norm_weight (float): Where the norm's weight begins. With 0 the unit begins as its shortcut.
        power_cfg (dict, optional): Type of the last activation, which also gets `channels`; None leaves it out.
        bias, groups, padding: As of a convolution. A bias would be lost in the norm; padding must keep the size.

    Shape: (N, C, H, W) to (N, C_out, H, W).

    Raises:
        ValueError: no norm, or a padding that changes the size.
    """

    def __init__(self, channels, out_channels=None, kernel_size=3, *, self_shortcut=True, relu=True, conv_cfg=ADDER,
                 norm_cfg=NORM, norm_weight=1.0, power_cfg=POWER, bias=False, groups=1, padding=None):
        super().__init__()
        out_channels = out_channels or channels
        if norm_cfg is None:
            raise ValueError('AdderUnit: norm_cfg=None; the outputs of an adder layer are large and of one sign, '
                             "expected a norm such as dict(type='BN')")
        if padding not in (None, kernel_size // 2):
            raise ValueError(f'AdderUnit: padding={padding!r} with kernel_size={kernel_size}, expected '
                             f'{kernel_size // 2}: the self-shortcut needs outputs of the size of the input')
        self.adder = conv(channels, out_channels, kernel_size, conv_cfg, bias=bias, groups=groups)
        self.norm = build_norm_layer(norm_cfg, out_channels)[1]
        nn.init.constant_(self.norm.weight, norm_weight)
        self.self_shortcut = self_shortcut and channels == out_channels
        self.relu = nn.ReLU(inplace=True) if relu else nn.Identity()
        self.power = MODELS.build(dict(power_cfg, channels=out_channels)) if power_cfg else nn.Identity()

    def forward(self, x):
        out = self.norm(self.adder(x))
        if self.self_shortcut:
            out = out + x
        return self.power(self.relu(out))

    def extra_repr(self):
        return f'self_shortcut={self.self_shortcut}'


@MODELS.register_module()
class AdderResidualBlock(nn.Module):
    """EDSR's residual block with two adder units: x + res_scale * body(x).

    The second unit has no ReLU, as in EDSR. *Inferred*: that it has a power activation, and where the norms begin.

    Args:
        channels (int): Channels in and out.
        res_scale (float): Factor of the branch. Each branch contains its input twice over, so with 1 the signal
            doubles, and more, in every block.
        second_power (bool): Whether the second unit has the power activation.
        norm_weights (tuple[float, float]): Where the norms' weights begin, of the first and the second unit. A norm
            that begins with 1 drowns the image at first, and its statistics follow the brightness of each batch.
        power_cfg (dict, optional): Power activation, as of the unit; None leaves out both.
        kwargs: Further arguments of both units.

    Shape: (N, C, H, W), in and out.
    """

    def __init__(self, channels, res_scale=0.1, second_power=True, power_cfg=POWER, norm_weights=(0.1, 0.), **kwargs):
        super().__init__()
        self.res_scale = res_scale
        first, second = norm_weights
        self.body = nn.Sequential(
            AdderUnit(channels, power_cfg=power_cfg, norm_weight=first, **kwargs),
            AdderUnit(channels, relu=False, power_cfg=power_cfg if second_power else None, norm_weight=second,
                      **kwargs))

    def forward(self, x):
        return x + self.body(x) * self.res_scale
