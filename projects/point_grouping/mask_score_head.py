"""MaskScoreNet: a mask and a score for each candidate group (arXiv 2203.14662).

The abstract says that a network scores the groups and masks the points that do not belong; its form is [inferred]:

- a candidate is cut out, voxelised on a grid of its own and run through a small U-Net, as in PointGroup's ScoreNet
  (arXiv 2004.01658) and HAIS's intra-instance network (arXiv 2108.02350);
- masks are trained as in HAIS, with SoftGroup's normalisation; scores as in PointGroup (a ramp from IoU 0.25 to 0.75);
- at first scores see whole groups. Once the masks are warmed up, scores see the masked points alone, and their targets
  are IoUs of the masks (HAIS).
"""

import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import nn

from projects.points3d import (
    SparseSequential,
    SparseTensor,
    UBlock,
    VoxelBatchNorm,
    Voxels,
    segment_max,
    segment_mean,
    segment_min,
    voxelize,
)

from .losses import dice_loss, mask_loss, score_loss
from .proposals import Proposals, best_instances, instance_ious, mask_labels, score_targets


def voxelize_proposals(features: torch.Tensor, coords: torch.Tensor, proposals: Proposals, grid: int = 20,
                       max_scale: float = 50., shift: torch.Tensor | None = None) -> Voxels:
    """Put each proposal on a grid of its own, PointGroup's `clusters_voxelization`.

    A proposal is scaled to fill the grid, but by no more than `max_scale`: small ones fill a part of it.

    Args:
        features: (N, C) of all points, differentiable.
        coords: (N, 3) of all points, metres; not shifted by offsets.
        proposals: with S rows.
        grid: cells along each axis.
        max_scale: most cells a metre; 50 are voxels of 2 cm.
        shift: (3,), 0 to 1: where in the room that is left within the grid proposals stand. Default: at its low corner.

    Returns:
        Voxels: `indices` [proposal, x, y, z]; `point_to_voxel` has S entries, one for each row of `proposals.idx`.
    """
    number, point = proposals.idx.unbind(1)
    own = coords[point]
    own = own - segment_mean(own, number, len(proposals))[number]
    low, high = segment_min(own, number, len(proposals))[0], segment_max(own, number, len(proposals))[0]
    # a hundredth less than what would fill the grid, so that rounding cannot lead out of it
    scale = (1 / ((high - low).amax(1) / grid) - 0.01).clamp(max=max_scale)[:, None]
    start = -low * scale
    if shift is not None:
        start = start + (grid - (high - low) * scale - 0.001).clamp(min=0) * shift
    cells = (own * scale[number] + start[number]).long().clamp(0, grid - 1)
    return voxelize(torch.cat([number[:, None], cells], 1), features[point])


@MODELS.register_module()
class MaskScoreHead(BaseModule):
    """Masks and scores of proposals from the points' features.

    Args:
        in_channels: m, channels of the points' features.
        widths: channels of the levels of the small U-Net; default (m, 2m) [inferred, as the ancestors].
        blocks: residual blocks on each side of a level.
        grid: cells of a proposal's grid along each axis; 20 in HAIS and SoftGroup, 14 in PointGroup.
        max_scale: most cells a metre; the scene's voxel size is the sensible limit, 50 for 2 cm.
        with_mask: predict masks. False: a proposal is its own mask, and there is no mask loss.
        score_ious: IoU up to which a score should be 0, and from which on 1; (0, 1) is the plain IoU, as in HAIS.
        mask_iou: proposals without an IoU above it train no mask.
        mask_weight, score_weight, dice_weight: weights of the losses; 0 for the dice term leaves it out.
        backend: engine of the sparse layers, see `projects.points3d.SubMConv3d`.
        init_cfg: as of every mmengine module.

    Raises:
        ValueError: thresholds in the wrong order, or a grid that is too small for the levels.
    """

    def __init__(self, in_channels: int = 16, widths: tuple[int, ...] | None = None, blocks: int = 2, grid: int = 20,
                 max_scale: float = 50., with_mask: bool = True, score_ious: tuple[float, float] = (0.25, 0.75),
                 mask_iou: float = 0.5, mask_weight: float = 1., score_weight: float = 1., dice_weight: float = 0.,
                 backend: str = 'auto', init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        widths = (in_channels, 2 * in_channels) if widths is None else tuple(widths)
        if widths[0] != in_channels:
            raise ValueError(f'mask_score_head.widths={widths}, expected {in_channels} (in_channels) for the first')
        if not 0 <= score_ious[0] < score_ious[1] <= 1:
            raise ValueError(f'mask_score_head.score_ious={score_ious}, expected two rising numbers from 0 to 1')
        if grid < 2 ** (len(widths) - 1):
            raise ValueError(f'mask_score_head.grid={grid}, expected at least {2 ** (len(widths) - 1)} for '
                             f'{len(widths)} levels')
        self.grid, self.max_scale, self.with_mask = grid, max_scale, with_mask
        self.score_ious, self.mask_iou = tuple(score_ious), mask_iou
        self.mask_weight, self.score_weight, self.dice_weight = mask_weight, score_weight, dice_weight
        self.unet = SparseSequential(UBlock(widths, blocks, backend), VoxelBatchNorm(in_channels),
                                     nn.ReLU(inplace=True))
        if with_mask:
            self.mask = nn.Sequential(nn.Linear(in_channels, in_channels), nn.ReLU(inplace=True),
                                      nn.Linear(in_channels, 1))
        self.score = nn.Linear(in_channels, 1)

    def forward(self, features: torch.Tensor, coords: torch.Tensor, proposals: Proposals,
                mask_scores: bool) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Predict masks and scores.

        Args:
            features: (N, m) of all points.
            coords: (N, 3), metres.
            proposals: P proposals with S rows.
            mask_scores: whether scores see the points of the masks alone (after the warm-up).

        Returns:
            Mask logits (S,), one for each row of `proposals.idx`, or None without masks; score logits (P,).
        """
        if not len(proposals):
            return features.new_zeros(0) if self.with_mask else None, features.new_zeros(0)
        shift = torch.rand(3, device=features.device) if self.training else None
        voxels = voxelize_proposals(features, coords, proposals, self.grid, self.max_scale, shift)
        tensor = SparseTensor(voxels.features, voxels.indices, (self.grid,) * 3, len(proposals))
        own = self.unet(tensor).features
        masks = self.mask(own)[:, 0][voxels.point_to_voxel] if self.with_mask else None
        own = own[voxels.point_to_voxel]
        if masks is not None and mask_scores:
            own = own * (masks.detach() >= 0)[:, None]  # features are not negative: masked ones do not win the maximum
        pooled, _ = segment_max(own, proposals.idx[:, 0], len(proposals))
        return masks, self.score(pooled)[:, 0]

    def loss(self, features: torch.Tensor, coords: torch.Tensor, proposals: Proposals, instances: torch.Tensor,
             num_instances: int, mask_scores: bool) -> dict[str, torch.Tensor]:
        """Losses of a batch.

        Args:
            features, coords, proposals, mask_scores: see :meth:`forward`.
            instances: (N,) int64, 0 to num_instances - 1 over the whole batch, negative for none.
            num_instances: G.

        Returns:
            `loss_score`; with masks `loss_mask`, and `loss_dice` if it has a weight. For the log, `num_proposals` and
            `proposal_iou`, the mean over proposals of the IoU that their scores should tell.
        """
        masks, scores = self(features, coords, proposals, mask_scores)
        sizes = torch.bincount(instances[instances >= 0], minlength=num_instances)
        rows = masks.detach() > 0 if masks is not None and mask_scores else None
        ious = instance_ious(proposals, instances, sizes, rows)
        highest, _ = best_instances(ious)
        losses = dict(loss_score=self.score_weight * score_loss(scores, score_targets(highest, *self.score_ious)),
                      num_proposals=scores.new_tensor(len(proposals)),
                      proposal_iou=highest.sum() / max(len(highest), 1))
        if masks is not None:
            labels = mask_labels(proposals, instances, ious, self.mask_iou)
            losses['loss_mask'] = self.mask_weight * mask_loss(masks, labels)
            if self.dice_weight:
                losses['loss_dice'] = self.dice_weight * dice_loss(masks, labels)
        return losses
