"""Adder layers (arXiv 1912.13200): networks whose filters compare by distance instead of multiplying.

Importing registers the convolution type ``Adder2d`` and the optimiser constructor ``AdderOptimWrapperConstructor``
in mmengine's root registries.
"""

from .functional import adder2d
from .layer import Adder2d
from .optim import AdderOptimWrapperConstructor

__all__ = ['Adder2d', 'AdderOptimWrapperConstructor', 'adder2d']
