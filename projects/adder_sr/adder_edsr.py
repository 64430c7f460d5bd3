"""Adder EDSR (AdderSR, arXiv 2009.08891): EDSR whose trunk consists of adder units.

The first and the last layer stay convolutions, as everywhere in the AdderNet family; EDSR with 32 blocks has 65 adder
layers. *Inferred*: the layer that closes the trunk is an adder unit without ReLU; pixels are 0..1, and a norm that ends
a residual branch begins with weight 0; the upsampler stays convolutional, since its layers change the number of
channels and cannot have the self-shortcut. The energy that the paper claims (2.5 times less) would fit an adder
upsampler, which is `adder_upsample=True`: adder layer, norm, power activation.
"""

from mmengine.registry import MODELS

from projects.restoration.edsr import EDSR

from .adder_unit import ADDER, NORM, POWER


@MODELS.register_module()
class AdderEDSR(EDSR):
    """EDSR of adder units.

    Args:
        self_shortcut (bool): Whether each unit adds its input.
        conv_cfg (dict, optional): Type of the units' layers; None makes the convolutional twin with the same norms.
            Name it in the config: the int8 tool looks for it there.
        norm_cfg (dict): Type of the norm behind each of them.
        power_cfg (dict, optional): Type of the power activations; None leaves them out.
        adder_upsample (bool): Whether the upsampler's layers are units, too.
        res_scale (float): Factor of each residual branch; see :class:`AdderResidualBlock` on values near 1.
        rgb_range (float): Largest value of a pixel. 1 and not EDSR's 255: adder filters begin with a standard deviation
            of 1, and where features are larger than filters all outputs follow the brightness (theorem 2).
        block (dict, optional): Further arguments of the blocks.
        kwargs: Of :class:`EDSR`: `mid_channels`, `num_blocks`, `upscale_factor`...

    Shape: (N, C, H, W) in 0..`rgb_range` to (N, C, sH, sW), not clamped.
    """

    def __init__(self, *, self_shortcut=True, conv_cfg=ADDER, norm_cfg=NORM, power_cfg=POWER, adder_upsample=False,
                 res_scale=0.1, rgb_range=1.0, block=None, **kwargs):
        unit = dict(self_shortcut=self_shortcut, conv_cfg=conv_cfg, norm_cfg=norm_cfg, power_cfg=power_cfg)
        open_unit = dict(type='AdderUnit', relu=False, **unit)
        super().__init__(
            res_scale=res_scale, rgb_range=rgb_range, block=dict(type='AdderResidualBlock', **unit) | dict(block or {}),
            body_end_conv_cfg=dict(open_unit, norm_weight=0.),
            upsampler_conv_cfg=open_unit if adder_upsample else None, **kwargs)
