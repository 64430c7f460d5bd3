"""``InceptionFPN``: a feature pyramid whose lateral connections see several window sizes at once (arXiv 2012.00779).

The static network of the paper's ablation ("inception FPN"), and the upper bound of :class:`DyFPN`. All else is
mmdet's FPN. The authors' ablations by ``branches``: a single larger lateral ``((3, 1),)``, ``((5, 1),)`` or
``((7, 1),)``, partial banks ``((1, 1), (3, 1))`` and ``((1, 1), (3, 1), (3, 2), (3, 3))``.
"""

from mmdet.models.necks import FPN
from mmdet.registry import MODELS
from torch import nn

from .laterals import BRANCHES, InceptionLateral, merged_shapes

BANK_KEYS = {'conv_cfg', 'norm_cfg'}


def _checked_branches(branches):
    for branch in branches:
        if len(branch) != 2 or branch[0] < 1 or branch[0] % 2 == 0 or branch[1] < 1:
            raise ValueError(f'neck.branches: {branch!r} is not (kernel, dilation) with an odd kernel and a dilation '
                             f'of at least 1, as in {BRANCHES}')
    if not branches:
        raise ValueError(f'neck.branches is empty, expected pairs as in {BRANCHES}')
    return tuple(map(tuple, branches))


@MODELS.register_module()
class InceptionFPN(FPN):
    """mmdet's FPN with a bank of convolutions for each lateral connection.

    Args:
        in_channels (list[int]): channels of the backbone's levels.
        out_channels (int): channels of every pyramid level.
        num_outs (int): number of pyramid levels.
        branches (sequence of (int, int)): kernel and dilation of each branch.
        with_skip (bool): add the ordinary 1x1 connection to the bank, which makes this the static form of
            DyFPN's structure B; without it, of structure A.
        bank (dict, optional): ``conv_cfg`` and ``norm_cfg`` of the branches where they differ from the neck's. With
            ``conv_cfg=dict(type='Adder2d')`` for the neck and ``bank=dict(conv_cfg=None, norm_cfg=None)`` the branches
            multiply and all else adds.
        strides (list[int], optional): of the backbone levels in use, for counting. Default: the last one has stride
            32, each one before it half of that.
        deploy (bool): build the form that :meth:`switch_to_deploy` leaves, for its checkpoints.
        **kwargs: see ``mmdet.models.FPN``; ``start_level`` and ``end_level`` choose the levels in use.

    Shape: tuple of (N, in_channels[i], H_i, W_i) to a tuple of ``num_outs`` maps (N, out_channels, ., .).

    Raises:
        ValueError: branches, bank or strides that make no sense; on call, feature maps that do not fit.
    """

    def __init__(self, in_channels, out_channels, num_outs, branches=BRANCHES, with_skip=False, bank=None, strides=None,
                 deploy=False, **kwargs):
        super().__init__(in_channels, out_channels, num_outs, **kwargs)
        branches = _checked_branches(branches)
        if set(bank or ()) - BANK_KEYS:
            raise ValueError(f'neck.bank: unknown keys {sorted(set(bank) - BANK_KEYS)}, expected conv_cfg and norm_cfg')
        self.used_channels = list(in_channels[self.start_level:self.backbone_end_level])
        count = len(self.used_channels)
        self.strides = list(strides or (32 // 2**i for i in range(count - 1, -1, -1)))
        if len(self.strides) != count:
            raise ValueError(f'neck.strides={self.strides}: expected {count} numbers, one for each backbone level in '
                             f'use (start_level={self.start_level}, end_level={self.end_level})')
        layer = dict(conv_cfg=kwargs.get('conv_cfg'), act_cfg=kwargs.get('act_cfg'),
                     norm_cfg=None if self.no_norm_on_lateral else kwargs.get('norm_cfg'))
        shapes = merged_shapes(branches) if deploy else branches
        self.lateral_convs = nn.ModuleList(
            self._lateral(channels, out_channels, shapes, with_skip, layer, {**layer, **(bank or {})})
            for channels in self.used_channels)

    def _lateral(self, in_channels, out_channels, branches, with_skip, layer, bank):
        return InceptionLateral(in_channels, out_channels, branches, with_skip, layer, bank)

    def forward(self, inputs):
        self._check_inputs(inputs)
        return super().forward(inputs)

    def _check_inputs(self, inputs):
        found = [x.shape[1] for x in inputs]
        if found != list(self.in_channels):
            raise ValueError(f'{type(self).__name__}: got {len(found)} feature maps with {found} channels, but '
                             f'neck.in_channels={list(self.in_channels)}. Make it the channels of the backbone stages '
                             'in backbone.out_indices')

    @property
    def branches(self):
        """(kernel, dilation) of the branches as they are computed."""
        return self.lateral_convs[0].shapes

    def branch_macs(self, sizes):
        """Multiply-adds of the branches for one image.

        Args:
            sizes (list of (int, int)): height and width of each level in use.

        Returns:
            list[list[int]]: for each level, the multiply-adds of each branch (additions, for adder branches).
        """
        return [[kernel**2 * channels * self.out_channels * height * width for kernel, _ in self.branches]
                for channels, (height, width) in zip(self.used_channels, sizes, strict=True)]

    def skip_macs(self, sizes):
        """Multiply-adds of the always computed 1x1 layers of each level, for one image; see :meth:`branch_macs`."""
        return [channels * self.out_channels * height * width if lateral.skip is not None else 0
                for lateral, channels, (height, width) in zip(self.lateral_convs, self.used_channels, sizes,
                                                              strict=True)]

    def level_sizes(self, height, width):
        """Height and width of each level in use for an image of this size."""
        return [(-(-height // stride), -(-width // stride)) for stride in self.strides]

    def switch_to_deploy(self):
        """Merge branches of equal dilation, in place, for faster inference; see ``merge_branches``.

        Returns:
            InceptionFPN: itself. Its checkpoints load into a neck with ``deploy=True``.
        """
        for lateral in self.lateral_convs:
            lateral.merge_branches()
        return self
