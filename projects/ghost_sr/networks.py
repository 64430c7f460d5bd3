"""The restoration networks with ghost layers (arXiv 2101.08525).

Replaced are the 3x3 layers of the trunk's blocks and nothing else: head, fusions, the layer that closes the trunk,
upsampler and last layer stay dense. For EDSR that is the released code's choice; for RDN, CARN and IMDN it is inferred
(for RDN it gives the published halving). In IMDN the first quarter of each layer's maps, which are intrinsic, is what
a block distils.
"""

from mmengine.registry import MODELS

from projects.restoration import CARN, EDSR, IMDN, RDN

from .deploy import deploy


class GhostNetwork:
    """What the four networks add to their dense twin, which is the other base class.

    Args:
        ghost (dict, optional): Arguments of :class:`GhostConv2d`, for example `dict(ratio=0.25)`.
        deploy (str, optional): 'slice' or 'fold' builds the inference form, for checkpoints of
            `tools/model_converters/ghost_sr.py deploy`.
        args, kwargs: Arguments of the dense twin, but for `conv_cfg`.
    """

    def __init__(self, *args, ghost=None, deploy=None, **kwargs):
        super().__init__(*args, conv_cfg=dict(ghost or {}, type='GhostConv2d'), **kwargs)
        if deploy:
            self.switch_to_deploy(deploy)

    def switch_to_deploy(self, form='slice'):
        """Turn the trained network into its inference form, in place; see :func:`.deploy.deploy`."""
        return deploy(self, form)


@MODELS.register_module()
class GhostEDSR(GhostNetwork, EDSR):
    """EDSR whose residual blocks hold ghost layers; arguments of `EDSR` and :class:`GhostNetwork`."""


@MODELS.register_module()
class GhostRDN(GhostNetwork, RDN):
    """RDN whose dense layers are ghost layers; arguments of `RDN` and :class:`GhostNetwork`."""


@MODELS.register_module()
class GhostCARN(GhostNetwork, CARN):
    """CARN, or CARN-M, whose residual units hold ghost layers; arguments of `CARN` and :class:`GhostNetwork`."""


@MODELS.register_module()
class GhostIMDN(GhostNetwork, IMDN):
    """IMDN whose first three layers of each block are ghost layers; arguments of `IMDN` and :class:`GhostNetwork`."""
