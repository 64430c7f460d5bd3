"""Image restoration for MMEngine: super-resolution, denoising, deraining.

Importing registers, in mmengine's root registries: the data set `RestorationDataset` and its transforms, the batch
sampler `SameSourceBatchSampler`, the model `ImageRestorer` with its data preprocessor and losses, the networks `EDSR`,
`VDSR`, `RDN`, `CARN`, `IMDN`, the baseline `Bicubic`, the metrics `PSNR` and `SSIM`, the loops `MultiValLoop` and
`MultiTestLoop`, the drawing of pictures, and `AdjustableClipHook`.
"""

from .augment import Flip, ModCrop, PackInputs, PairedRandomCrop, RandomTransposeHW
from .bicubic import Bicubic
from .carn import CARN
from .clip_hook import AdjustableClipHook
from .colour import rgb2ycbcr, ycbcr2rgb
from .data_sample import RestorationDataSample
from .dataset import RestorationDataset
from .edsr import EDSR
from .imdn import IMDN
from .imresize import imresize
from .layers import MeanShift, ResidualBlockNoBN, Upsampler
from .loading import AddGaussianNoise, BicubicDownsample, CopyValues, LoadRestorationImage, SetValues
from .loops import MultiTestLoop, MultiValLoop
from .losses import CharbonnierLoss, L1Loss, MSELoss
from .metrics import PSNR, SSIM
from .picture_hook import RestorationVisualizationHook
from .pictures import RestorationVisualizer
from .preprocessor import RestorationDataPreprocessor
from .quality import psnr, ssim
from .rdn import RDN
from .restorer import ImageRestorer
from .samplers import SameSourceBatchSampler
from .self_ensemble import self_ensemble
from .tiling import tiled
from .vdsr import VDSR

__all__ = [
    'AddGaussianNoise', 'AdjustableClipHook', 'Bicubic', 'BicubicDownsample', 'CARN', 'CharbonnierLoss',
    'CopyValues', 'EDSR', 'Flip', 'IMDN', 'ImageRestorer', 'L1Loss', 'LoadRestorationImage', 'MSELoss', 'MeanShift',
    'ModCrop', 'MultiTestLoop', 'MultiValLoop', 'PSNR', 'PackInputs', 'PairedRandomCrop', 'RDN',
    'RandomTransposeHW', 'ResidualBlockNoBN', 'RestorationDataPreprocessor', 'RestorationDataSample',
    'RestorationDataset', 'RestorationVisualizationHook', 'RestorationVisualizer', 'SSIM', 'SameSourceBatchSampler',
    'SetValues', 'Upsampler', 'VDSR', 'imresize', 'psnr', 'rgb2ycbcr', 'self_ensemble', 'ssim', 'tiled',
    'ycbcr2rgb',
]
