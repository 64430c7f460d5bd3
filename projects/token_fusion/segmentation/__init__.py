"""RGB-D semantic segmentation with TokenFusion (arXiv 2204.08721).

Importing registers, in mmseg's registries, the model parts ``TokenFusionMiT``, ``TokenFusionHead``,
``TokenFusionSegmentor``; the data sets ``RGBDSegDataset``, ``NYUv2RGBDDataset``, ``SUNRGBDSegDataset``; the transforms
``LoadDepthFromFile``, ``FitToMask``, ``RandomRGBDScale``, ``PadRGBD``, ``PackRGBDInputs``; the metric
``BranchIoUMetric``; the schedule ``StagedPolyLR`` with ``OptimizerRestartHook``; and ``TokenPictureHook``.
"""

from .checkpoints import convert_encoder, convert_official
from .datasets import NYUv2RGBDDataset, RGBDSegDataset, SUNRGBDSegDataset
from .errors import RGBDDataError
from .head import TokenFusionHead
from .metrics import BranchIoUMetric
from .mit import TokenFusionMiT
from .pictures import TokenPictureHook
from .schedule import OptimizerRestartHook, StagedPolyLR
from .segmentor import TokenFusionSegmentor
from .transforms import FitToMask, LoadDepthFromFile, PackRGBDInputs, PadRGBD, RandomRGBDScale

__all__ = ['BranchIoUMetric', 'FitToMask', 'LoadDepthFromFile', 'NYUv2RGBDDataset', 'OptimizerRestartHook',
           'PackRGBDInputs', 'PadRGBD', 'RGBDDataError', 'RGBDSegDataset', 'RandomRGBDScale', 'SUNRGBDSegDataset',
           'StagedPolyLR', 'TokenFusionHead', 'TokenFusionMiT', 'TokenFusionSegmentor', 'TokenPictureHook',
           'convert_encoder', 'convert_official']
