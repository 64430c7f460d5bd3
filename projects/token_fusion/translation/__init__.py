"""TokenFusion for image translation, on MMEngine alone.

Importing registers in mmengine's root registries: the model `TokenFusionTranslator` with its networks and data
preprocessor, the constructor of its two optimisers, `TaskonomyDataset` and its transforms, the metrics
`TranslationError` and `FeatureDistance` with their feature networks, and the picture hook.
"""

from .archs import ARCHS
from .dataset import TaskonomyDataset
from .discriminator import TokenFusionDiscriminator, adversarial_loss
from .feature_distance import frechet_distance, kernel_distance, kernel_distance_of_subsets
from .feature_nets import RandomConvFeatures, TorchScriptFeatures
from .generator import PatchUpsample, TokenFusionGenerator
from .metrics import FeatureDistance, TranslationError
from .official import convert_generator
from .optim import AdversarialOptimWrapperConstructor
from .picture_hook import TranslationPictureHook
from .preprocessor import TranslationDataPreprocessor
from .sample import TranslationSample
from .transforms import (
    LoadTaskonomyImages,
    PackTranslationInputs,
    TaskonomyFlip,
    TaskonomyRandomCrop,
    TaskonomyResize,
)
from .translator import TokenFusionTranslator

__all__ = [
    'ARCHS', 'AdversarialOptimWrapperConstructor', 'FeatureDistance', 'LoadTaskonomyImages', 'PackTranslationInputs',
    'PatchUpsample', 'RandomConvFeatures', 'TaskonomyDataset', 'TaskonomyFlip', 'TaskonomyRandomCrop',
    'TaskonomyResize', 'TokenFusionDiscriminator', 'TokenFusionGenerator', 'TokenFusionTranslator',
    'TorchScriptFeatures', 'TranslationDataPreprocessor', 'TranslationError', 'TranslationPictureHook',
    'TranslationSample', 'adversarial_loss', 'convert_generator', 'frechet_distance', 'kernel_distance',
    'kernel_distance_of_subsets'
]
