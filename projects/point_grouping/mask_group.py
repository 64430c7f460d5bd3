"""``MaskGroup``: 3D instance segmentation by hierarchical point grouping and MaskScoreNet (arXiv 2203.14662).

Scene -> voxels -> sparse U-Net -> class and offset of each point -> groups at several levels -> a mask and a score for
each group -> the best groups. What of this is inferred stands in this folder's README; the parts say more.

Training has three stages, as in PointGroup and HAIS: points alone, then groups as well, then scores on masked groups.
"""

import warnings

import torch
from mmdet3d.models import Base3DDetector
from mmdet3d.registry import MODELS
from mmdet3d.structures import PointData
from mmengine.logging import MessageHub
from mmengine.model import BaseDataPreprocessor

from projects.points3d import SparseTensor, SparseUNet, voxelize

from .proposals import Proposals, mask_nms, pairwise_ious

MODELS.register_module(name='GroupingUNet', module=SparseUNet)  # mmdet3d has a `SparseUNet` of its own, for LiDAR


@MODELS.register_module()
class GroupingDataPreprocessor(BaseDataPreprocessor):
    """Moves a batch to the device, joins its scenes and merges points into voxels.

    Takes what `PackGroupingInputs` makes. A scene of several `num_parts` becomes as many grids, point i in grid i
    modulo `num_parts`, which the network sees as if they were scenes of their own.

    Args:
        min_shape: least cells of the grids along each axis, 128 in PointGroup. A U-Net of L levels needs 2^(L - 1).
        non_blocking: of the copy to the device.
    """

    def __init__(self, min_shape: int = 128, non_blocking: bool = False) -> None:
        super().__init__(non_blocking)
        self.min_shape = min_shape

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a batch.

        Args:
            data: `inputs` with lists `points` ((N_i, 6): metres, colours) and `voxel_coords` ((N_i, 3) int64), and
                `data_samples`.
            training: not used; both kinds are prepared alike.

        Returns:
            `data_samples` as they are, on the device, and `inputs` with, for the N points and M voxels of the batch:
            `coords` (N, 3); `starts`, list of B + 1 ints, where each scene's points begin; `batch` (N,);
            `voxel_features` (M, 6), means of colours and metres; `voxel_indices` (M, 4); `point_to_voxel` (N,);
            `spatial_shape`, tuple of 3; `num_grids`.

        Raises:
            ValueError: a batch without a scene.
        """
        data = self.cast_data(data)
        points, cells = data['inputs']['points'], data['inputs']['voxel_coords']
        samples = data.get('data_samples') or [None] * len(points)
        if not points:
            raise ValueError('GroupingDataPreprocessor: a batch of no scenes, expected at least one')
        sizes = [len(scene) for scene in points]
        grids, first = [], 0
        for scene, sample in zip(points, samples, strict=True):
            parts = 1 if sample is None else sample.metainfo.get('num_parts', 1)
            grids.append(first + torch.arange(len(scene), device=scene.device) % parts)
            first += parts
        joined = torch.cat(points)
        coords, cells = joined[:, :3], torch.cat(cells)
        voxels = voxelize(torch.cat([torch.cat(grids)[:, None], cells], 1), torch.cat([joined[:, 3:], coords], 1))
        shape = tuple(max(int(size) + 1, self.min_shape) for size in cells.amax(0)) if len(cells) else (
            self.min_shape,) * 3
        numbers = torch.arange(len(points), device=joined.device)
        inputs = dict(coords=coords, batch=numbers.repeat_interleave(torch.tensor(sizes, device=joined.device)),
                      starts=torch.tensor([0, *sizes]).cumsum(0).tolist(), voxel_features=voxels.features,
                      voxel_indices=voxels.indices, point_to_voxel=voxels.point_to_voxel, spatial_shape=shape,
                      num_grids=first)
        return dict(inputs=inputs, data_samples=data.get('data_samples'))


@MODELS.register_module()
class MaskGroup(Base3DDetector):
    """Detector of instances in point clouds, whose masks may overlap no more than NMS lets them.

    Training begins with points alone; see `stages`. Where it stands is kept in the buffer `progress`: a checkpoint
    of the first stage predicts classes of points and no instances, as its MaskScoreNet is not trained yet.

    Args:
        backbone: config of a network from :class:`SparseTensor` to one of the same voxels with m channels.
        point_head: config of :class:`PointHead`.
        grouping: config of :class:`HierarchicalPointGrouping`.
        mask_score_head: config of :class:`MaskScoreHead`. None: groups are instances with a score of 1, and points
            alone are trained.
        stages: `grouping`, from when on groups are trained; `mask`, from when on scores see masked groups; `by_epoch`,
            whether the two count epochs (of an epoch-based loop) or iterations. PointGroup: 128 epochs of 384.
        test_cfg: `score_thr` (0.09, PointGroup), `min_points` (100), `nms_thr` (0.3, IoU of masks, whatever their
            classes, PointGroup), `mask_thr_logit` (-0.5, HAIS; 0 is the plain choice: what the mask keeps), and
            `stuff_as_instances` (False; S3DIS: True, as in SoftGroup): each of the grouping's `stuff_classes` as one
            mask with a score of 1.
        data_preprocessor: config of :class:`GroupingDataPreprocessor`.
        init_cfg: as of every mmengine module.

    Raises:
        ValueError: an unknown key of `stages` or `test_cfg`, or stages in the wrong order.
    """

    def __init__(self, backbone: dict, point_head: dict, grouping: dict, mask_score_head: dict | None = None,
                 stages: dict | None = None, test_cfg: dict | None = None, data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(data_preprocessor or dict(type='GroupingDataPreprocessor'), init_cfg)
        self.backbone, self.point_head = MODELS.build(backbone), MODELS.build(point_head)
        self.grouping = MODELS.build(grouping)
        self.mask_score_head = None if mask_score_head is None else MODELS.build(mask_score_head)
        self.stages = _known('stages', stages, grouping=0, mask=0, by_epoch=True)
        self.test_cfg = _known('test_cfg', test_cfg, score_thr=0.09, min_points=100, nms_thr=0.3, mask_thr_logit=-0.5,
                               stuff_as_instances=False)
        if not 0 <= self.stages['grouping'] <= self.stages['mask']:
            raise ValueError(f'model.stages={self.stages}, expected 0 <= grouping <= mask')
        self.register_buffer('progress', torch.zeros((), dtype=torch.int64))

    def _stage(self) -> tuple[bool, bool]:
        """Whether groups are in use, and whether scores see masked groups."""
        if self.mask_score_head is None:
            return not self.training, False
        progress = int(self.progress)
        return progress >= self.stages['grouping'], progress >= self.stages['mask']

    def _note_progress(self) -> None:
        """Take the epoch or iteration from the runner; without one, `progress` stays what it was set to."""
        hub, unit = MessageHub.get_current_instance(), 'epoch' if self.stages['by_epoch'] else 'iter'
        now, end = hub.get_info(unit), hub.get_info(f'max_{unit}s')
        if now is None:
            return
        if end is not None and now == 0 and self.mask_score_head is not None and self.stages['grouping'] >= end:
            warnings.warn(f'model.stages.grouping={self.stages["grouping"]}, but training ends after {end} {unit}s (an '
                          'iteration-based loop counts as one epoch): MaskScoreNet will not be trained, and there will '
                          'be no instances', stacklevel=2)
        self.progress.fill_(now)

    def extract_feat(self, batch_inputs: dict) -> torch.Tensor:
        """Features of the points, (N, m): those of their voxels."""
        tensor = SparseTensor(batch_inputs['voxel_features'], batch_inputs['voxel_indices'],
                              batch_inputs['spatial_shape'], batch_inputs['num_grids'])
        return self.backbone(tensor).features[batch_inputs['point_to_voxel']]

    def _forward(self, batch_inputs: dict, batch_data_samples: list | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Class logits (N, C) and offsets (N, 3), without post-processing."""
        return self.point_head(self.extract_feat(batch_inputs))

    def loss(self, batch_inputs: dict, batch_data_samples: list) -> dict[str, torch.Tensor]:
        """Losses of a batch.

        Args:
            batch_inputs: see :class:`GroupingDataPreprocessor`.
            batch_data_samples: with `gt_pts_seg`.

        Returns:
            Those of the heads; in the first stage of the point head alone.
        """
        self._note_progress()
        coords = batch_inputs['coords']
        labels = torch.cat([sample.gt_pts_seg.pts_semantic_mask for sample in batch_data_samples])
        instances, count = _joined_instances(batch_data_samples)
        features = self.extract_feat(batch_inputs)
        logits, offsets = self.point_head(features)
        losses = self.point_head.loss(logits, offsets, coords, labels, instances, count)
        grouping, mask_scores = self._stage()
        if grouping:
            proposals = self.grouping(coords, offsets, logits.argmax(1), batch_inputs['batch'])
            losses.update(self.mask_score_head.loss(features, coords, proposals, instances, count, mask_scores))
        return losses

    @torch.no_grad()
    def predict(self, batch_inputs: dict, batch_data_samples: list) -> list:
        """Predictions of a batch.

        Args:
            batch_inputs: see :class:`GroupingDataPreprocessor`.
            batch_data_samples: receive `pred_pts_seg` with `pts_semantic_mask` (n,), `pts_instance_mask` (K, n) bool,
                `instance_labels` (K,) int64, `instance_scores` (K,) float, best first.

        Returns:
            `batch_data_samples`.
        """
        features = self.extract_feat(batch_inputs)
        logits, offsets = self.point_head(features)
        labels = logits.argmax(1)
        proposals, scores = self._instances(features, batch_inputs, offsets, labels)
        starts = batch_inputs['starts']
        for number, sample in enumerate(batch_data_samples):
            first, last = starts[number:number + 2]
            own = (proposals.batch == number).nonzero()[:, 0]
            chosen, own_scores = self._choose(proposals.select(own), scores[own])
            masks, own_labels = chosen.masks(first, last), chosen.labels
            if self.test_cfg['stuff_as_instances']:
                masks, own_labels, own_scores = self._with_stuff(labels[first:last], masks, own_labels, own_scores)
            sample.pred_pts_seg = PointData(pts_semantic_mask=labels[first:last], pts_instance_mask=masks,
                                            instance_labels=own_labels, instance_scores=own_scores)
        return batch_data_samples

    def _instances(self, features, batch_inputs, offsets, labels) -> tuple[Proposals, torch.Tensor]:
        """Candidates with their masks applied, and their scores (P,)."""
        coords = batch_inputs['coords']
        grouping, mask_scores = self._stage()
        if not grouping:
            labels = torch.full_like(labels, -1)
        proposals = self.grouping(coords, offsets, labels, batch_inputs['batch'])
        if self.mask_score_head is None:
            return proposals, coords.new_ones(len(proposals))
        masks, scores = self.mask_score_head(features, coords, proposals, mask_scores)
        if masks is not None and mask_scores:
            proposals = proposals.refine(masks > self.test_cfg['mask_thr_logit'])
        return proposals, scores.sigmoid()

    def _choose(self, proposals, scores) -> tuple[Proposals, torch.Tensor]:
        """The instances of a scene: good enough, large enough, not suppressed; best first."""
        passed = (scores > self.test_cfg['score_thr']) & (proposals.sizes >= self.test_cfg['min_points'])
        proposals, scores = proposals.select(passed.nonzero()[:, 0]), scores[passed]
        kept = mask_nms(pairwise_ious(proposals), scores, self.test_cfg['nms_thr']).to(scores.device)
        return proposals.select(kept), scores[kept]

    def _with_stuff(self, points, masks, labels, scores):
        """The instances of a scene, and before them its stuff classes as one mask each."""
        stuff = labels.new_tensor(self.grouping.stuff_classes)
        whole = points[None] == stuff[:, None]
        there = whole.sum(1) >= self.test_cfg['min_points']
        return (torch.cat([whole[there], masks]), torch.cat([stuff[there], labels]),
                torch.cat([scores.new_ones(int(there.sum())), scores]))


def _known(name: str, given: dict | None, **defaults) -> dict:
    """Settings with their defaults."""
    strangers = sorted(set(given or {}) - set(defaults))
    if strangers:
        raise ValueError(f'model.{name}: unknown {", ".join(strangers)}; expected some of {", ".join(defaults)}')
    return {**defaults, **(given or {})}


def _joined_instances(samples: list) -> tuple[torch.Tensor, int]:
    """Instances of all points, numbered over the batch, -1 for none; and how many there are."""
    parts, count = [], 0
    for sample in samples:
        own = sample.gt_pts_seg.pts_instance_mask
        parts.append(torch.where(own >= 0, own + count, -1))
        count += int(own.max()) + 1 if len(own) else 0
    return torch.cat(parts), count
