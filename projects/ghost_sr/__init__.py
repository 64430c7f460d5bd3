"""GhostSR (arXiv 2101.08525): super-resolution networks that shift part of their maps instead of computing them.

Importing registers, in mmengine's root registries, the convolution type `GhostConv2d`, the networks `GhostEDSR`,
`GhostRDN`, `GhostCARN`, `GhostIMDN`, and the hook `GhostShiftEpochHook`.
"""

from .conversion import ghostify, initialise_from_dense
from .deploy import DeployedGhostConv2d, deploy
from .ghost_conv import GhostConv2d
from .hooks import GhostShiftEpochHook, ghost_directions
from .networks import GhostCARN, GhostEDSR, GhostIMDN, GhostRDN

__all__ = [
    'DeployedGhostConv2d', 'GhostCARN', 'GhostConv2d', 'GhostEDSR', 'GhostIMDN', 'GhostRDN', 'GhostShiftEpochHook',
    'deploy', 'ghost_directions', 'ghostify', 'initialise_from_dense',
]
