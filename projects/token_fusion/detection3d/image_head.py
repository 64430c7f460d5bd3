"""Boxes and classes of detection tokens, trained as in DETR (arXiv 2005.12872; YOLOS, arXiv 2106.00666)."""

from __future__ import annotations

import torch
from mmdet.models.dense_heads import DETRHead
from mmdet3d.registry import MODELS
from torch import Tensor, nn


def perceptron(channels: int, out_channels: int, hidden: int | None = None) -> nn.Sequential:
    """Three linear layers with ReLU between them."""
    hidden = hidden or channels
    return nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
                         nn.Linear(hidden, out_channels))


@MODELS.register_module()
class DetectionTokenHead(DETRHead):
    """mmdet's DETR head on tokens instead of a decoder's layers.

    Hungarian matching with costs class 1, L1 5, GIoU 2, and losses of the same weights; the class of "no object" counts
    0.1. Boxes are centre and size in 0..1.

    Args:
        num_classes: K.
        embed_dims: Width of the tokens.
        no_object_weight: Of the class "no object".
    """

    def __init__(self, num_classes: int, embed_dims: int, no_object_weight: float = 0.1,
                 init_cfg: dict | None = None) -> None:
        # the parent makes a list of class weights for its own class alone; its types are names without a scope
        super().__init__(
            num_classes, embed_dims,
            loss_cls=dict(type='mmdet.CrossEntropyLoss', class_weight=[1.] * num_classes + [no_object_weight]),
            loss_bbox=dict(type='mmdet.L1Loss', loss_weight=5.), loss_iou=dict(type='mmdet.GIoULoss', loss_weight=2.),
            train_cfg=dict(assigner=dict(type='mmdet.HungarianAssigner', match_costs=[
                dict(type='mmdet.ClassificationCost', weight=1.),
                dict(type='mmdet.BBoxL1Cost', weight=5., box_format='xywh'),
                dict(type='mmdet.IoUCost', iou_mode='giou', weight=2.)])),
            test_cfg={},  # all tokens are detections
            init_cfg=init_cfg)
        self.bg_cls_weight = no_object_weight

    def _init_layers(self) -> None:
        self.class_embed = perceptron(self.embed_dims, self.cls_out_channels)
        self.bbox_embed = perceptron(self.embed_dims, 4)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (1, B, Q, K + 1) and boxes (1, B, Q, 4) of tokens (B, Q, C); the first axis is DETR's layers."""
        return self.class_embed(tokens)[None], self.bbox_embed(tokens).sigmoid()[None]

    def losses(self, tokens: Tensor, batch_gt_instances: list, batch_img_metas: list[dict]) -> dict[str, Tensor]:
        """Losses of one image for each entry: ``loss_image_cls``, ``loss_image_bbox``, ``loss_image_iou``."""
        losses = self.loss_by_feat(*self(tokens), batch_gt_instances, batch_img_metas)
        return {name.replace('loss_', 'loss_image_'): value for name, value in losses.items()}

    @torch.no_grad()
    def boxes(self, tokens: Tensor, batch_img_metas: list[dict]) -> list:
        """2D detections (InstanceData: bboxes, scores, labels) in pixels of the original images."""
        return self.predict_by_feat(*self(tokens), batch_img_metas, rescale=True)
