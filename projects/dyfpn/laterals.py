"""Lateral connections of a pyramid: a bank of parallel convolutions, computed always or by a gate's decision.

Paper: arXiv 2012.00779; official code: Mingjian-Zhu/DyFPN, ``DyFPN_B_CNNGate.py``. The seven branches map a backbone
level to the pyramid's channels with windows of 1x1 to 13x13 and are summed; there is no norm and no activation.

Deviations: batches of several images are split by decision at inference (the official code takes one image); branches
of equal dilation can be merged into one window for inference (``merge_branches``), which is exact and our addition.
"""

import torch
from mmcv.cnn import ConvModule
from torch import nn

BRANCHES = ((1, 1), (3, 1), (3, 2), (3, 3), (5, 1), (5, 2), (5, 3))
"""(kernel, dilation) of the seven branches, in the order of the released checkpoint."""

STRUCTURES = ('A', 'B')


def merged_shapes(branches):
    """Branches after merging: one (kernel, dilation) for each dilation, in order of dilation.

    A 1x1 window has no dilation of its own and joins the smallest one.
    """
    largest = {}
    for kernel, dilation in branches:
        if kernel > 1:
            largest[dilation] = max(kernel, largest.get(dilation, 1))
    return tuple((kernel, dilation) for dilation, kernel in sorted(largest.items())) or ((1, 1),)


class InceptionLateral(nn.Module):
    """The sum of parallel convolutions of one level.

    Args:
        in_channels, out_channels (int): of every branch.
        branches (sequence of (int, int)): kernel, odd, and dilation of each branch.
        with_skip (bool): add a plain 1x1 layer, the ordinary lateral connection of a pyramid.
        layer (dict): ``conv_cfg``, ``norm_cfg`` and ``act_cfg`` of the skip layer.
        bank (dict): the same for the branches.

    Shape: (N, in_channels, H, W) to (N, out_channels, H, W).
    """

    def __init__(self, in_channels, out_channels, branches=BRANCHES, with_skip=False, layer=None, bank=None):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.shapes = tuple(map(tuple, branches))
        self.skip = ConvModule(in_channels, out_channels, 1, inplace=False, **(layer or dict(act_cfg=None))
                               ) if with_skip else None
        self.branches = nn.ModuleList(self._branch(kernel, dilation, bank or dict(act_cfg=None))
                                      for kernel, dilation in self.shapes)

    def _branch(self, kernel, dilation, cfg):
        return ConvModule(self.in_channels, self.out_channels, kernel, padding=dilation * (kernel // 2),
                          dilation=dilation, inplace=False, **cfg)

    def bank(self, x):
        """Sum of all branches."""
        out = self.branches[0](x)
        for branch in self.branches[1:]:
            # in place where nothing must be kept for backward: one map less at the finest level
            out = out + branch(x) if torch.is_grad_enabled() else out.add_(branch(x))
        return out

    def forward(self, x):
        return self.bank(x) if self.skip is None else self.skip(x) + self.bank(x)

    @torch.no_grad()
    def merge_branches(self):
        """Replace branches of equal dilation by one convolution with the sum of their windows.

        The outputs stay the same but for rounding; the seven branches become three, and 103 taps become 75.

        Raises:
            ValueError: a branch is no plain convolution, or has a norm or an activation.
        """
        merged = []
        for kernel, dilation in merged_shapes(self.shapes):
            target = self._branch(kernel, dilation, dict(act_cfg=None)).to(next(self.branches.parameters()))
            target.conv.weight.zero_()
            target.conv.bias.zero_()
            merged.append(target)
        by_dilation = {module.conv.dilation[0]: module.conv for module in merged}
        for (kernel, dilation), branch in zip(self.shapes, self.branches, strict=True):
            _require_plain(branch)
            target = merged[0].conv if kernel == 1 else by_dilation[dilation]
            begin = (target.kernel_size[0] - kernel) // 2
            target.weight[:, :, begin:begin + kernel, begin:begin + kernel] += branch.conv.weight
            target.bias += branch.conv.bias
        self.shapes, self.branches = merged_shapes(self.shapes), nn.ModuleList(merged)
        self.train(self.training)


def _require_plain(branch):
    if type(branch.conv) is not nn.Conv2d or branch.with_norm or branch.with_activation:
        raise ValueError(f'merging branches needs plain convolutions without norm and activation, found '
                         f'{type(branch.conv).__name__} with norm: {branch.with_norm}, activation: '
                         f'{branch.with_activation}. Keep this neck as it is (deploy=False)')


class DynamicLateral(InceptionLateral):
    """A lateral connection that computes what ``decision`` names.

    ``decision`` is set before a call and holds one-hot rows (N, choices). Structure B always computes the 1x1 layer;
    choice 0 adds nothing, choice 1 adds the bank. In structure A choice k is branch k alone. While training,
    everything is computed and weighted, so that gradients reach the gates. In evaluation mode a batch is split
    by decision, and what no image chose is not computed.

    Args:
        structure (str): 'A' or 'B'.
        *args, **kwargs: see :class:`InceptionLateral`.
    """

    def __init__(self, structure, *args, **kwargs):
        super().__init__(*args, with_skip=structure == 'B', **kwargs)
        self.structure = structure
        self.decision = None

    def forward(self, x):
        weighted, chosen = dict(A=(self._weighted_branches, self._chosen_branches),
                                B=(self._weighted_bank, self._chosen_bank))[self.structure]
        return weighted(x, self.decision) if self.training else chosen(x, self.decision.argmax(1))

    def _weighted_bank(self, x, decision):
        bank = self.bank(x)
        return self.skip(x) + decision[:, 1, None, None, None].to(bank.dtype) * bank

    def _weighted_branches(self, x, decision):
        out = 0
        for k, branch in enumerate(self.branches):
            y = branch(x)
            out = out + decision[:, k, None, None, None].to(y.dtype) * y
        return out

    def _chosen_bank(self, x, choice):
        out = self.skip(x)
        images = choice.nonzero()[:, 0]
        if len(images) == len(x):
            return out + self.bank(x)
        if not len(images):
            return out
        return out.index_add(0, images, self.bank(x[images]).to(out.dtype))

    def _chosen_branches(self, x, choice):
        used = choice.unique().tolist()
        if len(used) == 1:
            return self.branches[used[0]](x)
        parts = [(choice == k).nonzero()[:, 0] for k in used]
        out = torch.cat([self.branches[k](x[images]) for k, images in zip(used, parts, strict=True)])
        return out[torch.cat(parts).argsort()]
