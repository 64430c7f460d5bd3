"""Sparse U-Net of PointGroup (arXiv 2004.01658) and its descendants HAIS (arXiv 2108.02350) and SoftGroup
(arXiv 2203.01509): residual blocks of sub-manifold convolutions on the way down and up.

Parameter names are those of the official code of SoftGroup, so that its checkpoints load. Departures:

- Batch normalisation of fewer than two voxels uses the running statistics, in training as well [inferred]. Small scenes
  have one voxel in the seventh level, where torch's layer raises.
- The 1x1 shortcut is a linear layer, see :class:`projects.points3d.Linear1x1`.
"""

import torch
from torch import nn

from .sparse_conv import Linear1x1, SparseConv3d, SparseInverseConv3d, SparseModule, SparseSequential, SubMConv3d, named


class VoxelBatchNorm(nn.BatchNorm1d):
    """Batch normalisation over the voxels of a level, (N, C); eps 1e-4 and momentum 0.1 as in the official code.

    With fewer than two voxels there is no variance: the running statistics serve, and stay as they are.

    Args:
        channels (int): C.
    """

    def __init__(self, channels):
        super().__init__(channels, eps=1e-4, momentum=0.1)

    def forward(self, features):
        if len(features) < 2:
            return nn.functional.batch_norm(features, self.running_mean, self.running_var, self.weight, self.bias,
                                            eps=self.eps)
        return super().forward(features)


def _normalised(channels, conv):
    """Normalisation and ReLU before a convolution."""
    return [VoxelBatchNorm(channels), nn.ReLU(inplace=True), conv]


class ResidualBlock(SparseModule):
    """Pre-activation residual block: twice (normalisation, ReLU, 3x3x3 sub-manifold convolution), and a shortcut.

    Args:
        in_channels, out_channels (int): channels; if they differ, the shortcut is a 1x1 convolution.
        indice_key (str): of the level's rulebook.
        backend (str): see :class:`SubMConv3d`.
    """

    def __init__(self, in_channels, out_channels, indice_key, backend='auto'):
        super().__init__()
        options = dict(padding=1, bias=False, indice_key=indice_key, backend=backend)
        same = in_channels == out_channels
        self.i_branch = SparseSequential(nn.Identity() if same else Linear1x1(in_channels, out_channels, bias=False))
        self.conv_branch = SparseSequential(
            *_normalised(in_channels, SubMConv3d(in_channels, out_channels, 3, **options)),
            *_normalised(out_channels, SubMConv3d(out_channels, out_channels, 3, **options)))

    def forward(self, tensor):
        output = self.conv_branch(tensor)
        return output.replace_feature(output.features + self.i_branch(tensor).features)


class UBlock(SparseModule):
    """One level of the U-Net and all below it.

    Args:
        widths (sequence of int): channels of this level and of those below.
        blocks (int): residual blocks on each side of a level.
        backend (str): see :class:`SubMConv3d`.
        level (int): number of this level, part of the rulebooks' keys.

    Shape: a tensor with widths[0] channels to one with the same voxels and channels.
    """

    def __init__(self, widths, blocks=2, backend='auto', level=1):
        super().__init__()
        width, key = widths[0], f'subm{level}'
        self.blocks = named(**{f'block{i}': ResidualBlock(width, width, key, backend) for i in range(blocks)})
        self.deepest = len(widths) == 1
        if self.deepest:
            return
        options = dict(bias=False, indice_key=f'spconv{level}', backend=backend)
        below = widths[1]
        self.conv = SparseSequential(*_normalised(width, SparseConv3d(width, below, 2, stride=2, **options)))
        self.u = UBlock(widths[1:], blocks, backend, level + 1)
        self.deconv = SparseSequential(*_normalised(below, SparseInverseConv3d(below, width, 2, **options)))
        self.blocks_tail = named(**{f'block{i}': ResidualBlock(width * (2 - min(i, 1)), width, key, backend)
                                    for i in range(blocks)})

    def forward(self, tensor):
        skip = self.blocks(tensor)
        if self.deepest:
            return skip
        back = self.deconv(self.u(self.conv(skip)))
        return self.blocks_tail(skip.replace_feature(torch.cat([skip.features, back.features], 1)))


class SparseUNet(SparseModule):
    """Input convolution, U-Net, and normalisation with ReLU at the end.

    Args:
        in_channels (int): channels of the voxels; 6 are colour and position.
        widths (sequence of int): channels of each level; [m, 2m, ..., 7m] in all ancestors.
        blocks (int): residual blocks on each side of a level.
        backend (str): see :class:`SubMConv3d`.

    Shape: a tensor with `in_channels` to one of the same voxels with widths[0] channels, none of them negative. Each
    axis of ``spatial_shape`` must have at least 2^(levels - 1) cells; PointGroup takes at least 128.

    Raises:
        ValueError: no level; on call, a grid too small for the levels.
    """

    def __init__(self, in_channels=6, widths=(16, 32, 48, 64, 80, 96, 112), blocks=2, backend='auto'):
        super().__init__()
        widths = [int(width) for width in widths]
        if not widths or min(widths) < 1 or blocks < 1:
            raise ValueError(f'SparseUNet: widths={widths} and blocks={blocks!r}, expected at least one level, and '
                             'positive numbers')
        self.levels = len(widths)
        self.input_conv = SparseSequential(
            SubMConv3d(in_channels, widths[0], 3, padding=1, bias=False, indice_key='subm1', backend=backend))
        self.unet = UBlock(widths, blocks, backend)
        self.output_layer = SparseSequential(VoxelBatchNorm(widths[0]), nn.ReLU(inplace=True))

    def forward(self, tensor):
        if min(tensor.spatial_shape) < 2 ** (self.levels - 1):
            raise ValueError(f'SparseUNet: spatial_shape={tensor.spatial_shape} is too small for {self.levels} levels; '
                             f'give at least {2 ** (self.levels - 1)} cells along each axis (cells may stay empty)')
        return self.output_layer(self.unet(self.input_conv(tensor)))
