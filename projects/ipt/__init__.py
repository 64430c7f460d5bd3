"""The image processing transformer, IPT (arXiv 2012.00364), as a method of the restoration task.

Importing registers the network `IPT`, the model `IPTRestorer`, `PatchContrastiveLoss`, and what pre-training needs: the
transform `PackScaleCrops`, the data preprocessor `TaskCorruptionPreprocessor`, and the degradations
`BicubicDegradation`, `NoiseDegradation`, `RainDegradation`.
"""

import projects.restoration  # noqa: F401  registers what configs of this method name beside it

from .contrastive import PatchContrastiveLoss
from .degradations import BicubicDegradation, NoiseDegradation, RainDegradation
from .network import IPT
from .pretraining import PackScaleCrops, TaskCorruptionPreprocessor
from .restorer import IPTRestorer
from .windows import run_in_windows, window_rule

__all__ = [
    'BicubicDegradation', 'IPT', 'IPTRestorer', 'NoiseDegradation', 'PackScaleCrops', 'PatchContrastiveLoss',
    'RainDegradation', 'TaskCorruptionPreprocessor', 'run_in_windows', 'window_rule',
]
