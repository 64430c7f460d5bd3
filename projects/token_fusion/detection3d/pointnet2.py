"""PointNet++ (arXiv 1706.02413) with one scale per level, on operators that run on CPU and GPU.

Same layers, parameter names and results as mmdet3d's ``PointNet2SASSG``, so that released Group-Free-3D and VoteNet
checkpoints load; that one needs CUDA.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule, ModuleList, Sequential
from torch import Tensor

from projects.points3d import (
    ball_query_padded,
    furthest_point_sample,
    gather_points,
    group_points,
    three_interpolate,
    three_nn,
)


def pointwise_layers(channels: Sequence[int], norm_cfg: dict) -> Sequential:
    """1x1 convolutions with norm and ReLU from channels[0] to channels[-1]."""
    layers = Sequential()
    for index, (before, after) in enumerate(zip(channels, channels[1:], strict=False)):
        layers.add_module(f'layer{index}', ConvModule(before, after, 1, conv_cfg=dict(type='Conv2d'),
                                                      norm_cfg=norm_cfg))
    return layers


class SetAbstraction(BaseModule):
    """Samples points, and describes each by the maximum over a ball around it.

    Args:
        num_points: M, points that are kept.
        radius: Of the balls, in metres; coordinates in a ball are divided by it.
        num_neighbours: Points of a ball.
        channels: Width of the features, then of each layer.
        norm_cfg: Norm of the layers.
    """

    def __init__(self, num_points: int, radius: float, num_neighbours: int, channels: Sequence[int],
                 norm_cfg: dict) -> None:
        super().__init__()
        self.num_points, self.radius, self.num_neighbours = num_points, radius, num_neighbours
        self.mlps = ModuleList([pointwise_layers((channels[0] + 3, *channels[1:]), norm_cfg)])

    def forward(self, points: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Coordinates (B, M, 3), features (B, C', M) and indices (B, M) of points (B, N, 3), features (B, C, N)."""
        chosen = furthest_point_sample(points, self.num_points)
        columns = points.transpose(1, 2).contiguous()
        centres = gather_points(columns, chosen)
        balls = ball_query_padded(points, centres.transpose(1, 2).contiguous(), self.radius, self.num_neighbours)
        grouped = (group_points(columns, balls) - centres[..., None]) / self.radius
        if features is not None:
            grouped = torch.cat([grouped, group_points(features, balls)], 1)
        return centres.transpose(1, 2).contiguous(), self.mlps[0](grouped).amax(3), chosen


class FeaturePropagation(BaseModule):
    """Brings features of few points to many, by inverse distance from the three nearest.

    Args:
        channels: Sum of both widths of features, then of each layer.
        norm_cfg: Norm of the layers.
    """

    def __init__(self, channels: Sequence[int], norm_cfg: dict) -> None:
        super().__init__()
        self.mlps = pointwise_layers(channels, norm_cfg)

    def forward(self, target: Tensor, source: Tensor, own: Tensor, features: Tensor) -> Tensor:
        """(B, C', N) of targets (B, N, 3) with own features (B, C1, N), sources (B, M, 3) with features (B, C2, M)."""
        distance, index = three_nn(target, source)
        weight = 1 / (distance + 1e-8)
        brought = three_interpolate(features, index, weight / weight.sum(2, keepdim=True))
        return self.mlps(torch.cat([brought, own], 1)[..., None])[..., 0]


@MODELS.register_module()
class PointNet2(BaseModule):
    """Set abstraction levels, then feature propagation back to some of them.

    Args:
        in_channels: Of the input points, coordinates among them.
        num_points, radius, num_samples: Of each level: points, ball in metres, points of a ball.
        sa_channels: Widths of the layers of each level.
        fp_channels: Widths of each propagation; the last one yields the seeds.
        norm_cfg: Norm of all layers.
    """

    def __init__(self, in_channels: int = 3, num_points: Sequence[int] = (2048, 1024, 512, 256),
                 radius: Sequence[float] = (0.2, 0.4, 0.8, 1.2), num_samples: Sequence[int] = (64, 32, 16, 16),
                 sa_channels: Sequence[Sequence[int]] = ((64, 64, 128), (128, 128, 256), (128, 128, 256),
                                                         (128, 128, 256)),
                 fp_channels: Sequence[Sequence[int]] = ((256, 256), (256, 288)),
                 norm_cfg: dict | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        norm_cfg = norm_cfg or dict(type='BN2d')
        widths = [in_channels - 3]
        self.SA_modules, self.FP_modules = ModuleList(), ModuleList()
        for level in zip(num_points, radius, num_samples, sa_channels, strict=True):
            self.SA_modules.append(SetAbstraction(*level[:3], (widths[-1], *level[3]), norm_cfg))
            widths.append(level[3][-1])
        width = widths.pop()
        for channels in fp_channels:
            self.FP_modules.append(FeaturePropagation((width + widths.pop(), *channels), norm_cfg))
            width = channels[-1]

    def forward(self, points: Tensor) -> dict[str, list[Tensor]]:
        """Of points (B, N, in_channels), for each propagation and what it begins with, the seeds last.

        Returns:
            ``fp_xyz`` (B, M, 3), ``fp_features`` (B, C, M) and ``fp_indices`` (B, M) into the input.
        """
        xyz = [points[..., :3].contiguous()]
        features = [points[..., 3:].transpose(1, 2).contiguous() if points.shape[2] > 3 else None]
        indices = [torch.arange(points.shape[1], device=points.device).expand(len(points), -1)]
        for level in self.SA_modules:
            centres, described, chosen = level(xyz[-1], features[-1])
            xyz.append(centres)
            features.append(described)
            indices.append(indices[-1].gather(1, chosen))
        brought = [features[-1]]
        for index, step in enumerate(self.FP_modules):
            level = -2 - index
            brought.append(step(xyz[level], xyz[level + 1], features[level], brought[-1]))
        order = range(-1, -2 - len(self.FP_modules), -1)
        return dict(fp_xyz=[xyz[i] for i in order], fp_features=brought, fp_indices=[indices[i] for i in order])
