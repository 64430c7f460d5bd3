"""RGB-D segmentation with exchange of tokens (TokenFusion, arXiv 2204.08721)."""

from __future__ import annotations

import torch
from mmengine.dist import get_world_size
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ..encoder import Scored
from ..losses import channel_sparsity_loss, exchanged_channels, substituted_shares, token_sparsity_loss


@MODELS.register_module()
class TokenFusionSegmentor(EncoderDecoder):
    """An ``EncoderDecoder`` of ``TokenFusionMiT`` and ``TokenFusionHead``; the input has all modalities' channels.

    Losses: ``loss_ce_NAME`` of each modality and of the ensemble, ``loss_tokens``. Log: ``replaced_NAME``, the share of
    exchanged tokens in per cent, over all blocks and for each stage. Where the backbone exchanges channels
    (``channel_threshold``), ``loss_channels`` and ``exchanged_NAME`` as well.

    Args:
        token_loss: ``weight`` and ``reduction`` of ``token_sparsity_loss``. A 'sum' is over the batches of all
            processes, as in the official code, which has one process for all GPUs.
        channel_loss_weight: Of the l1 norm of the scales by which channels are exchanged.
        test_cfg: As mmseg's, and ``outputs``: names of what to predict, the first of them as ``pred_sem_seg``, others
            as ``pred_sem_seg_NAME`` (see ``BranchIoUMetric``). Default: the ensemble, or the only output.
        kwargs: Of ``EncoderDecoder``.

    Raises:
        ValueError: an unknown name in ``test_cfg.outputs``.
    """

    def __init__(self, *args, token_loss: dict | None = None, channel_loss_weight: float = 1e-3, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.channel_loss_weight = channel_loss_weight
        self.token_loss = dict(token_loss or dict(weight=1e-6, reduction='sum'))
        names = self.decode_head.names
        self.outputs = tuple((self.test_cfg or {}).get('outputs') or names[-1:])
        if not set(self.outputs) <= set(names):
            raise ValueError(f'test_cfg.outputs={self.outputs}: expected names among {", ".join(names)}')
        self.out_channels = self.num_classes * len(self.outputs)

    def _init_decode_head(self, decode_head: dict) -> None:
        """Build the head for what the backbone gives."""
        widths = self.backbone.out_channels
        super()._init_decode_head(dict(decode_head, outputs=self.backbone.outputs, in_channels=widths,
                                       in_index=list(range(len(widths)))))

    def token_losses(self, scored: list[Scored]) -> dict[str, Tensor]:
        """``loss_tokens`` and shares of replaced tokens; nothing without scores."""
        if not scored:
            return {}
        scores = [block.scores for block in scored]
        loss = token_sparsity_loss(scores, **self.token_loss)
        if self.token_loss.get('reduction', 'sum') == 'sum':
            loss = loss * get_world_size()  # gradients are averaged over processes
        shares = substituted_shares(scores, [block.stage for block in scored], self.backbone.threshold,
                                    self.backbone.used)
        return dict(loss_tokens=loss, **shares)

    def channel_losses(self) -> dict[str, Tensor]:
        """``loss_channels`` and shares of exchanged channels; nothing where none are exchanged."""
        loss = channel_sparsity_loss(self.backbone, self.channel_loss_weight)
        return {} if loss is None else dict(loss_channels=loss, **exchanged_channels(self.backbone, self.backbone.used))

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Losses and figures for the log, of inputs (B, C, H, W)."""
        features, scored = self.extract_feat(inputs)
        losses = self.decode_head.loss(features, data_samples, self.train_cfg)
        return {**losses, **self.token_losses(scored), **self.channel_losses()}

    def logits(self, inputs: Tensor) -> list[Tensor]:
        """Logits (B, K, H / 4, W / 4) of each of ``outputs``."""
        features, _ = self.extract_feat(inputs)
        head = self.decode_head
        found = dict(zip(head.names, head.with_ensemble(head(features)), strict=True))
        return [found[name] for name in self.outputs]

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits (B, outputs * K, H, W)."""
        return self.decode_head.predict_by_feat(torch.cat(self.logits(inputs), 1), batch_img_metas)

    def _forward(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> Tensor:
        """Logits (B, K, H / 4, W / 4) of the first of ``outputs``."""
        return self.logits(inputs)[0]

    def postprocess_result(self, seg_logits: Tensor, data_samples: list[SegDataSample] | None = None
                           ) -> list[SegDataSample]:
        """Data samples with the labels of each of ``outputs``; ``seg_logits`` are the first one's."""
        parts = seg_logits.split(self.num_classes, 1)
        for name, part in zip(self.outputs[:0:-1], parts[:0:-1], strict=True):
            data_samples = super().postprocess_result(part, data_samples)
            for sample in data_samples:
                sample.set_field(sample.pred_sem_seg, f'pred_sem_seg_{name}')  # the main one takes its place below
        return super().postprocess_result(parts[0], data_samples)
