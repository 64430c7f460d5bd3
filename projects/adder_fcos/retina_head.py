"""RetinaNet head whose towers may be adder layers, for Adder RetinaNet-MS-640 B+N+H (arXiv 2112.13608, table 5)."""

from mmdet.models.dense_heads import RetinaSepBNHead
from mmdet.registry import MODELS

from projects.adder import Adder2d


@MODELS.register_module()
class AdderRetinaSepBNHead(RetinaSepBNHead):
    """mmdet's head with shared towers and one batch norm per level, initialising adder towers as such.

    mmdet draws every tower layer from N(0, 0.01^2). To an adder layer such filters are all the same point, and its
    outputs all the same map; they start from N(0, 1).

    Args:
        **kwargs: see ``mmdet.models.RetinaSepBNHead``; ``conv_cfg`` names the towers' layer. Predictors are
            convolutions.
    """

    def init_weights(self):
        super().init_weights()
        for module in self.modules():
            if isinstance(module, Adder2d):
                module.init_weights()
