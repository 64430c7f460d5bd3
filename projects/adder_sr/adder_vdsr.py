"""Adder VDSR (AdderSR, arXiv 2009.08891): VDSR whose 18 inner layers are adder units.

The first and the last layer stay convolutions and the global skip stays, so the units only have to find what bicubic
interpolation loses.
"""

from mmengine.registry import MODELS

from projects.restoration.vdsr import VDSR

from .adder_unit import ADDER, NORM, POWER


@MODELS.register_module()
class AdderVDSR(VDSR):
    """VDSR of adder units, for x2, x3 and x4 with one set of weights.

    Args:
        self_shortcut (bool): Whether each unit adds its input.
        conv_cfg (dict, optional): Type of the units' layers; None makes the convolutional twin with the same norms.
            Name it in the config: the int8 tool looks for it there.
        norm_cfg (dict): Type of the norm behind each of them.
        power_cfg (dict, optional): Type of the power activations; None leaves them out.
        kwargs: Of :class:`VDSR`: `mid_channels`, `num_layers`, `upscale_factor`...

    Shape: (N, C, H, W) to (N, C, sH, sW), not clamped.
    """

    def __init__(self, *, self_shortcut=True, conv_cfg=ADDER, norm_cfg=NORM, power_cfg=POWER, **kwargs):
        super().__init__(conv_cfg=conv_cfg, block=dict(
            type='AdderUnit', self_shortcut=self_shortcut, norm_cfg=norm_cfg, power_cfg=power_cfg), **kwargs)
