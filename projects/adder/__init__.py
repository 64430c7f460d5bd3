"""Adder layers (arXiv 1912.13200): networks whose filters compare by distance instead of multiplying.

Importing registers the convolution types ``Adder2d`` and ``QuantAdder2d`` (integers, inference only) and the optimiser
constructor ``AdderOptimWrapperConstructor`` in mmengine's root registries.
"""

from .functional import adder2d
from .layer import Adder2d
from .optim import AdderOptimWrapperConstructor
from .quant_layer import QuantAdder2d

__all__ = ['Adder2d', 'AdderOptimWrapperConstructor', 'QuantAdder2d', 'adder2d']
