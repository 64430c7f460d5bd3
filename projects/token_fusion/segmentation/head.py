"""The decoder of RGB-D segmentation: SegFormer's all-MLP decoder as the TokenFusion code has it (arXiv 2204.08721).

Beside mmseg's ``SegformerHead`` the stages' projections have neither norm nor activation and are concatenated from the
last stage to the first. So nothing but linear maps lies before the batch norm, and bilinear enlarging commutes with
them: each stage is projected by one matrix, made of both layers' weights, at its own resolution, and the enlarged
results are added. For MiT-B2 that takes 0.5 G multiply-adds at 500 x 500 instead of 5.5 G; weights are the official
ones.

All modalities pass through as one batch. The official code decodes them one after the other with a frozen batch norm,
where that is the same; with a trained one (default, inferred) the statistics are those of all modalities, in training
as in the test.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import kaiming_init
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.nn import functional

from ..modality_layers import LearnedEnsemble

ENSEMBLE = 'ensemble'


@MODELS.register_module()
class TokenFusionHead(BaseDecodeHead):
    """One decoder for all modalities, and the learned ensemble of their logits.

    ``outputs``, ``in_channels`` and ``in_index`` are set by ``TokenFusionSegmentor`` from its backbone.

    Args:
        channels: Width, 256 for every backbone in the official code.
        outputs: Names of the decoded modalities.
        freeze_bn: Leave the running statistics alone, at 0 and 1 if they are never loaded: the official training.
        predict_mode: How logits are enlarged in the test, 'bilinear' or 'bicubic' (official).
        kwargs: Of mmseg's ``BaseDecodeHead``.

    Attributes:
        names: Of the outputs, with 'ensemble' behind them if there are several.
    """

    def __init__(self, channels: int = 256, outputs: Sequence[str] = ('rgb', 'depth'), freeze_bn: bool = False,
                 predict_mode: str = 'bilinear', norm_cfg: dict | None = None, loss_decode: dict | None = None,
                 **kwargs) -> None:
        super().__init__(
            channels=channels, input_transform='multiple_select', norm_cfg=norm_cfg or dict(type='BN'), init_cfg=None,
            loss_decode=loss_decode or dict(type='CrossEntropyLoss'), **kwargs)
        self.freeze_bn, self.predict_mode = freeze_bn, predict_mode
        self.convs = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in self.in_channels)
        self.fusion_conv = nn.Conv2d(channels * len(self.in_channels), channels, 1, bias=False)
        self.bn = build_norm_layer(self.norm_cfg, channels)[1]
        kaiming_init(self.fusion_conv)
        self.names = tuple(outputs)
        self.ensemble = None
        if len(self.names) > 1:
            self.ensemble = LearnedEnsemble(len(self.names))
            self.names += (ENSEMBLE,)

    def train(self, mode: bool = True) -> TokenFusionHead:
        """Training mode, but for a frozen batch norm."""
        super().train(mode)
        if self.freeze_bn:
            self.bn.eval()
        return self

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Logits (M, B, K, H, W) at the first stage's resolution, of maps (M, B, C_i, H_i, W_i)."""
        maps = self._transform_inputs(features)
        mixers = self.fusion_conv.weight.flatten(1).chunk(len(maps), 1)[::-1]  # the last stage comes first in it
        fused = None
        for conv, mixer, stage in zip(self.convs, mixers, maps, strict=True):
            kernel = (mixer @ conv.weight.flatten(1))[..., None, None]
            part = functional.conv2d(stage.flatten(0, 1), kernel, mixer @ conv.bias)
            if fused is not None:
                part = resize(part, fused.shape[-2:], mode='bilinear', align_corners=self.align_corners)
            fused = part if fused is None else fused + part
        logits = self.cls_seg(functional.relu(self.bn(fused)))
        return logits.unflatten(0, maps[0].shape[:2])

    def with_ensemble(self, logits: Tensor) -> list[Tensor]:
        """Logits of all ``names``, (B, K, H, W) each, of those of the modalities, (M, B, K, H, W)."""
        own = list(logits)
        return own if self.ensemble is None else [*own, self.ensemble(logits)]

    def loss_by_feat(self, logits: Tensor, samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """Losses ``loss_ce_NAME`` of all outputs, means over the pixels that are not ignored.

        The ensemble's trains its weights alone.
        """
        labels = self._stack_batch_gt(samples).squeeze(1)
        full = resize(logits.flatten(0, 1), labels.shape[-2:], mode='bilinear', align_corners=self.align_corners)
        outputs = self.with_ensemble(full.unflatten(0, logits.shape[:2]))
        name, known = self.loss_decode.loss_name, (labels != self.ignore_index).sum().clamp(min=1)
        # the number is given because mmseg's own average fails for class weights and ignored pixels together
        return {f'{name}_{key}': self.loss_decode(output, labels, avg_factor=known, ignore_index=self.ignore_index)
                for key, output in zip(self.names, outputs, strict=True)}

    def predict_by_feat(self, logits: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits (B, K, H, W) at the size of the input."""
        meta = batch_img_metas[0]
        size = meta['img_shape']
        if not isinstance(size, torch.Size):  # mmseg's mark of a window of slide inference
            size = meta.get('pad_shape', size)[:2]
        return resize(logits, size, mode=self.predict_mode, align_corners=self.align_corners)
