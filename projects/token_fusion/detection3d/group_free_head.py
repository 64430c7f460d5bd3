"""Group-Free-3D head (arXiv 2104.00678) whose keys can be changed before each decoder layer, on CPU and GPU.

Weights and results are those of mmdet3d's ``GroupFree3DHead``. What that one gets wrong is done otherwise here: targets
of rotated boxes (IndexError), results of a batch (all samples get those of the last), operators without CPU kernels.
Departures: all boxes that hold a seed compete for it (there: three); only an object's own seeds can be its key points
(there: others fill up where an object has fewer than four).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from mmdet3d.models.dense_heads import GroupFree3DHead
from mmdet3d.models.layers import aligned_3d_nms
from mmdet3d.registry import MODELS
from mmdet3d.structures import BaseInstance3DBoxes
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn import functional

from projects.points3d import furthest_point_sample, gather_points

KEY_POINTS = 4
"""Seeds of each object that the sampling is to find."""
SMALLEST = 1e-3
"""Metres; predicted sizes are not held above 0."""


def points_in_boxes(points: Tensor, boxes: BaseInstance3DBoxes) -> Tensor:
    """Which points (N, 3) are in which boxes: (N, K) bool. Surfaces belong to a box."""
    offset = points[:, None] - boxes.gravity_center.to(points)
    yaw = boxes.yaw.to(points)
    cosine, sine = yaw.cos(), yaw.sin()
    along = offset[..., 0] * cosine + offset[..., 1] * sine
    across = offset[..., 1] * cosine - offset[..., 0] * sine
    return (torch.stack([along, across, offset[..., 2]], -1).abs() * 2 <= boxes.dims.to(points)).all(-1)


def owners(points: Tensor, boxes: BaseInstance3DBoxes) -> Tensor:
    """The box of each point (N, 3): of those that it is in, the one with the nearest centre; -1 for none. (N,)."""
    distance = (points[:, None] - boxes.gravity_center.to(points)).pow(2).sum(-1)
    nearest, index = distance.masked_fill(~points_in_boxes(points, boxes), torch.inf).min(1)
    return index.masked_fill(nearest.isinf(), -1)


def key_points(points: Tensor, owner: Tensor, boxes: BaseInstance3DBoxes) -> Tensor:
    """1 for the few points (N, 3) of each object nearest to its centre, measured in its size; 0 for others. (N,)."""
    offset = (points[:, None] - boxes.gravity_center.to(points)) / (boxes.dims.to(points) + 1e-6)
    own = owner[:, None] == torch.arange(len(boxes), device=points.device)
    distance, index = offset.pow(2).sum(-1).masked_fill(~own, torch.inf).topk(
        min(KEY_POINTS, len(points)), dim=0, largest=False)
    target = owner.new_zeros(len(points))
    target[index[distance.isfinite()]] = 1
    return target


@MODELS.register_module()
class FusedGroupFree3DHead(GroupFree3DHead):
    """See the module's description; arguments are mmdet3d's.

    ``test_cfg`` knows one more key, ``min_points``: boxes that hold fewer of the input points are removed before NMS. 0
    (default) keeps all, as in Group-Free-3D; mmdet3d's head removes those with fewer than 6.
    """

    def forward(self, feat_dict: dict, fuse: Callable[[int, Tensor], Tensor] | None = None) -> dict:
        """Predictions of the proposal stage and of each decoder layer, as mmdet3d names them.

        Args:
            feat_dict: Of the backbone.
            fuse: Called before each decoder layer with its number and the keys (B, N, C); returns what takes their
                place in this layer.
        """
        points, features, indices = self._extract_input(feat_dict)
        results = dict(seed_points=points, seed_features=features, seed_indices=indices)
        chosen = self.candidates(points, features, results)
        centres = points.gather(1, chosen[..., None].expand(-1, -1, 3))
        own = gather_points(features, chosen)
        results.update(query_points_xyz=centres, query_points_feature=own, query_points_sample_inds=chosen)
        boxes = self.predict_boxes(self.conv_pred, own, centres, 'proposal.', results)
        query = self.decoder_query_proj(own).permute(2, 0, 1)
        keys = self.decoder_key_proj(features).transpose(1, 2)
        for layer in range(self.num_decoder_layers):
            seen = (keys if fuse is None else fuse(layer, keys)).transpose(0, 1)
            query = self.decoder_layers[layer](
                query, seen, seen, query_pos=self.decoder_self_posembeds[layer](boxes).permute(2, 0, 1),
                key_pos=self.decoder_cross_posembeds[layer](points).permute(2, 0, 1))
            boxes = self.predict_boxes(self.prediction_heads[layer], query.permute(1, 2, 0), centres, f's{layer}.',
                                       results)
        results['num_decoder_layers'] = self.num_decoder_layers
        return results

    def candidates(self, points: Tensor, features: Tensor, results: dict) -> Tensor:
        """Indices (B, num_proposal) of the seeds that become queries; adds the logits of sampling to the results."""
        if self.sample_mode == 'fps':
            return furthest_point_sample(points, self.num_proposal)
        results['seeds_obj_cls_logits'] = self.points_obj_cls(features)
        return results['seeds_obj_cls_logits'][:, 0].topk(self.num_proposal)[1]

    def predict_boxes(self, head: torch.nn.Module, features: Tensor, centres: Tensor, prefix: str,
                      results: dict) -> Tensor:
        """Adds a stage's predictions to the results; returns centre and size (B, Q, 6), without gradient."""
        results.update(self.bbox_coder.split_pred(*head(features), centres, prefix))
        return self.bbox_coder.decode(results, prefix)[..., :6].detach()

    @torch.no_grad()
    def _get_targets_single(self, points, gt_bboxes_3d, gt_labels_3d, pts_semantic_mask=None, pts_instance_mask=None,
                            max_gt_nums=None, seed_points=None, seed_indices=None, candidate_indices=None):
        """Targets of a sample, see the parent's method; rotated boxes without masks of points are done here."""
        if not self.bbox_coder.with_rot:
            return super()._get_targets_single(points, gt_bboxes_3d, gt_labels_3d, pts_semantic_mask,
                                               pts_instance_mask, max_gt_nums, seed_points, seed_indices,
                                               candidate_indices)
        boxes = gt_bboxes_3d.to(points.device)
        centre, size, size_class, size_residual, dir_class, dir_residual = self.bbox_coder.encode(boxes, gt_labels_3d)
        size_residual = size_residual / size_residual.new_tensor(self.bbox_coder.mean_sizes)[gt_labels_3d]
        dir_residual = dir_residual * (self.num_dir_bins / torch.pi)
        owner = owners(seed_points, boxes)
        own = owner[candidate_indices]
        of_query = own.remainder(len(boxes))  # background takes the last box; its weight is 0
        padded = functional.pad(centre, (0, 0, 0, max_gt_nums - len(centre)), value=1000.)
        assigned = (values[of_query] for values in (size, size_class, size_residual, dir_class, dir_residual))
        return (key_points(seed_points, owner, boxes), *assigned, padded, centre[of_query], gt_labels_3d[of_query],
                (own >= 0).long(), points.new_ones(len(own)))

    def predict_by_feat(self, points: list[Tensor], bbox_preds_dict: dict, batch_input_metas: list[dict],
                        **kwargs) -> list[InstanceData]:
        """Boxes, scores and labels of each sample, after NMS.

        Args:
            points: (N, 3 or more) of each sample.
            bbox_preds_dict: Of ``forward``.
            batch_input_metas: Of each sample, ``box_type_3d`` among them.
        """
        stages = [f's{layer}.' for layer in range(self.num_decoder_layers)]
        prefixes = dict(last=stages[-1:], last_three=stages[-3:], all=['proposal.', *stages])[
            self.test_cfg['prediction_stages']]
        objectness = torch.cat([bbox_preds_dict[f'{prefix}obj_scores'][..., -1].sigmoid() for prefix in prefixes], 1)
        semantics = torch.cat([bbox_preds_dict[f'{prefix}sem_scores'].softmax(-1) for prefix in prefixes], 1)
        boxes = torch.cat([self.bbox_coder.decode(bbox_preds_dict, prefix) for prefix in prefixes], 1)
        boxes[..., 3:6].clamp_(min=SMALLEST)
        results = []
        for sample in zip(objectness, semantics, boxes, points, batch_input_metas, strict=True):
            found, scores, labels = self.multiclass_nms_single(*sample)
            results.append(InstanceData(bboxes_3d=found, scores_3d=scores, labels_3d=labels))
        return results

    def multiclass_nms_single(self, obj_scores: Tensor, sem_scores: Tensor, bbox: Tensor, points: Tensor,
                              input_meta: dict) -> tuple[BaseInstance3DBoxes, Tensor, Tensor]:
        """Boxes, scores and labels that NMS over upright hulls leaves of (Q, 7) boxes, for every class if so set."""
        boxes = input_meta['box_type_3d'](bbox, box_dim=bbox.shape[-1], with_yaw=self.bbox_coder.with_rot,
                                          origin=(0.5, 0.5, 0.5))
        kept = obj_scores > self.test_cfg['score_thr']
        if self.test_cfg.get('min_points', 0):
            kept &= points_in_boxes(points[:, :3], boxes).sum(0) >= self.test_cfg['min_points']
        kept = kept.nonzero()[:, 0]
        corners = boxes.corners[kept]
        hulls = torch.cat([corners.amin(1), corners.amax(1)], 1)
        classes = sem_scores.argmax(1)
        kept = kept[aligned_3d_nms(hulls, obj_scores[kept], classes[kept], self.test_cfg['nms_thr'])]
        if not self.test_cfg['per_class_proposal']:
            return boxes[kept], obj_scores[kept], classes[kept]
        count, num_classes = len(kept), sem_scores.shape[1]
        labels = torch.arange(num_classes, device=kept.device).repeat_interleave(count)
        scores = (obj_scores[kept, None] * sem_scores[kept]).T.flatten()
        return boxes[kept.repeat(num_classes)], scores, labels
