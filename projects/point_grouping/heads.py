"""Heads on the points' features: class and offset of each point."""

import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import nn

from projects.points3d import VoxelBatchNorm

from .losses import offset_losses, offset_targets, semantic_loss


def mlp(channels: int, out_channels: int) -> nn.Sequential:
    """Linear, batch norm and ReLU, linear."""
    return nn.Sequential(nn.Linear(channels, channels), VoxelBatchNorm(channels), nn.ReLU(inplace=True),
                         nn.Linear(channels, out_channels))


@MODELS.register_module()
class PointHead(BaseModule):
    """Class logits and the offset to the instance's centre, for each point.

    Args:
        num_classes: C.
        in_channels: channels of the points' features.
        semantic_layers: 2 as in HAIS and SoftGroup (Linear, batch norm, ReLU, Linear) or 1 as in PointGroup (Linear).
            Which one the paper has is not known; 2 is [inferred].
        semantic_weight, offset_weight, direction_weight: weights of the losses. PointGroup has 1 for all; HAIS and
            SoftGroup have no direction (0) [inferred].
        ignore_index: label of points without a class.
        init_cfg: as of every mmengine module; layers begin with torch's own initialisation, as PointGroup's.

    Raises:
        ValueError: another number of layers.
    """

    def __init__(self, num_classes: int, in_channels: int = 16, semantic_layers: int = 2, semantic_weight: float = 1.,
                 offset_weight: float = 1., direction_weight: float = 1., ignore_index: int = -100,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if semantic_layers not in (1, 2):
            raise ValueError(f'point_head.semantic_layers={semantic_layers}, expected 1 or 2')
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.weights = dict(semantic=semantic_weight, offset=offset_weight, direction=direction_weight)
        self.semantic = (mlp(in_channels, num_classes) if semantic_layers == 2
                         else nn.Linear(in_channels, num_classes))
        self.offset = mlp(in_channels, 3)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Predict from features (N, in_channels).

        Returns:
            logits (N, C) and offsets (N, 3) in metres.
        """
        return self.semantic(features), self.offset(features)

    def loss(self, logits: torch.Tensor, offsets: torch.Tensor, coords: torch.Tensor, labels: torch.Tensor,
             instances: torch.Tensor, num_instances: int) -> dict[str, torch.Tensor]:
        """Losses of what :meth:`forward` returned.

        Args:
            logits, offsets: see there.
            coords: (N, 3), metres.
            labels: (N,) int64 class or `ignore_index`.
            instances: (N,) int64, 0 to num_instances - 1 over the whole batch, negative for none.
            num_instances: G.

        Returns:
            `loss_semantic`, `loss_offset`, and `loss_direction` unless its weight is 0. The last is negative, -1 at
            best.
        """
        distance, direction = offset_losses(offsets, *offset_targets(coords, instances, num_instances))
        losses = dict(loss_semantic=self.weights['semantic'] * semantic_loss(logits, labels, self.ignore_index),
                      loss_offset=self.weights['offset'] * distance)
        if self.weights['direction']:
            losses['loss_direction'] = self.weights['direction'] * direction
        return losses
