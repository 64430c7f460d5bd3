"""AdderSR (arXiv 2009.08891): super-resolution by adder networks with self-shortcuts and power activations.

Importing registers, in mmengine's root registries, the networks `AdderEDSR` and `AdderVDSR`, their parts `AdderUnit`,
`AdderResidualBlock` and `PowerActivation`, and the optimiser constructor `AdderSROptimWrapperConstructor`.
"""

import projects.adder
import projects.restoration  # noqa: F401

from .adder_edsr import AdderEDSR
from .adder_unit import AdderResidualBlock, AdderUnit
from .adder_vdsr import AdderVDSR
from .optim import AdderSROptimWrapperConstructor
from .power_activation import PowerActivation, power_activation

__all__ = ['AdderEDSR', 'AdderResidualBlock', 'AdderSROptimWrapperConstructor', 'AdderUnit', 'AdderVDSR',
           'PowerActivation', 'power_activation']
