"""DeFeat: distilling object detectors via decoupled features (arXiv 2103.14475).

Importing registers ``DeFeatSingleStageDetector`` and ``DeFeatTwoStageDetector`` in mmdet's registry and ``DeFeatHook``
in mmengine's HOOKS.
"""

from .detectors import DeFeatMixin, DeFeatSingleStageDetector, DeFeatTwoStageDetector
from .hook import DeFeatHook
from .losses import BackboneLoss, DecoupledHeadLoss, DecoupledNeckLoss
from .masks import object_masks
from .teacher import FrozenTeacher

__all__ = ['BackboneLoss', 'DeFeatHook', 'DeFeatMixin', 'DeFeatSingleStageDetector', 'DeFeatTwoStageDetector',
           'DecoupledHeadLoss', 'DecoupledNeckLoss', 'FrozenTeacher', 'object_masks']
