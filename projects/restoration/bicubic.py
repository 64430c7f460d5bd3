"""Bicubic interpolation as a network: the row that every table of super-resolution begins with."""

from mmengine.model import BaseModule
from mmengine.registry import MODELS

from .imresize import imresize


@MODELS.register_module()
class Bicubic(BaseModule):
    """MATLAB's bicubic interpolation for 8-bit images, without weights; see :func:`..imresize.imresize`.

    Args:
        upscale_factor (int): Any whole number.
        border (str): 'symmetric' or 'replicate'.
        init_cfg (dict, optional): As in mmengine; without meaning here.

    Shape: (N, C, H, W) in 0..255 to (N, C, sH, sW), whole numbers as floating point.
    """

    def __init__(self, upscale_factor, border='symmetric', init_cfg=None):
        super().__init__(init_cfg)
        self.upscale_factor, self.border = upscale_factor, border

    def forward(self, x):
        return imresize(x.round().clamp(0, 255).byte(), self.upscale_factor, border=self.border).to(x.dtype)
