"""DyFPN: a feature pyramid that chooses for each image how much receptive field to pay for (arXiv 2012.00779).

Importing registers the necks ``InceptionFPN`` and ``DyFPN``, the gates ``PoolFCGate``, ``ConvGate``, ``RNNGate`` and
``RandomGate``, the detector ``DynamicDetector`` (in mmdet's registry) and ``GateStatisticsHook`` (in mmengine's).
"""

from .detectors import DynamicDetector, ResourceLossMixin
from .dyfpn import DyFPN
from .gate_statistics import GateStatisticsHook
from .gates import ConvGate, PoolFCGate, RandomGate, RNNGate
from .inception_fpn import InceptionFPN
from .laterals import BRANCHES, DynamicLateral, InceptionLateral
from .resource_loss import RELEASED_COSTS, ResourceLoss

__all__ = ['BRANCHES', 'ConvGate', 'DyFPN', 'DynamicDetector', 'DynamicLateral', 'GateStatisticsHook', 'InceptionFPN',
           'InceptionLateral', 'PoolFCGate', 'RELEASED_COSTS', 'RNNGate', 'RandomGate', 'ResourceLoss',
           'ResourceLossMixin']
