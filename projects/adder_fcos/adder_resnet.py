"""``AdderResNet``: a ResNet whose layers add, with a convolutional stem (arXiv 1912.13200 and 2112.13608).

Official code of the classification network: huawei-noah/AdderNet, ``resnet50.py``; there is none for detection.
The first convolution multiplies; every other layer, 1x1 bottleneck layers and projection shortcuts included, is an
adder layer followed by batch norm. Strides sit on the 3x3 layers ("pytorch" style).
"""

from mmdet.models.backbones import ResNet
from mmdet.registry import MODELS


@MODELS.register_module()
class AdderResNet(ResNet):
    """mmdet's ResNet with the defaults that adder detectors need.

    Args:
        depth (int): 18, 34, 50, 101 or 152.
        conv_cfg (dict or None): the layer type of everything but the stem; None gives the convolutional twin.
            Default: ``Adder2d`` with the sign rule for its input gradient, the detection paper's choice.
        norm_eval (bool): False. With frozen statistics adder detectors diverge (table 1 of 2112.13608): their
            features drift during fine-tuning, because adder filters shrink.
        frozen_stages (int): -1, since freezing a stage also freezes its statistics.
        zero_init_residual (bool): False; the official network starts all batch norms at weight 1.
        **kwargs: see ``mmdet.models.ResNet``.

    Shape: (N, 3, H, W) to a tuple of the ``out_indices`` stages, strides 4, 8, 16, 32.
    """

    def __init__(self, depth, conv_cfg=dict(type='Adder2d', grad_input='sign'), norm_eval=False,  # noqa: B006
                 frozen_stages=-1, zero_init_residual=False, **kwargs):
        super().__init__(depth, conv_cfg=conv_cfg, norm_eval=norm_eval, frozen_stages=frozen_stages,
                         zero_init_residual=zero_init_residual, **kwargs)

    def _make_stem_layer(self, in_channels, stem_channels):
        conv_cfg, self.conv_cfg = self.conv_cfg, None
        super()._make_stem_layer(in_channels, stem_channels)
        self.conv_cfg = conv_cfg
