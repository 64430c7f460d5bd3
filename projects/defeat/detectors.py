"""Detectors that learn from a frozen teacher by decoupled features (arXiv 2103.14475).

`DeFeatSingleStageDetector` and `DeFeatTwoStageDetector` take the plain detector's `model` dict, with `type` replaced
and `teacher` and `defeat` added. mmdet's FasterRCNN, CascadeRCNN, MaskRCNN, RetinaNet, FCOS, ATSS, GFL... are the same
two base classes under other names, so that these two serve all of them; a detector with code of its own is derived as
`class Mine(DeFeatMixin, TheirDetector)`. Weights are named as in the plain detector; only the adaptation layers under
`distiller.` come on top. Testing needs no teacher.

The teacher runs first, without gradients, and keeps nothing but the maps and scores that are imitated; the student's
maps and proposals are recorded while its own `loss` runs.

Deviations from the official code: labels of the head term belong to the proposals that both heads see (the official
code pairs the teacher's proposals with the student's labels); for one-stage detectors the neck and backbone terms
alone, since the official masks for them were not released.
"""

from contextlib import nullcontext
from typing import Any

import torch
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox2roi, get_box_tensor
from torch import Tensor, nn

from projects.runtime.errors import ConfigError

from .distiller import DeFeatDistiller, Features
from .recording import outputs_of, sampled_by
from .teacher import FrozenTeacher, class_count


class DeFeatMixin:
    """Adds a teacher and the distillation terms to a detector; goes before the detector among the bases.

    Args:
        teacher: arguments of `FrozenTeacher`: `config`, `checkpoint`...
        defeat: arguments of `DeFeatDistiller`: `neck`, `masks`, `backbone`, `head`, `decay`, `warmup_iters`.
        *args, **kwargs: the detector's own.

    Losses: the detector's, and `loss_defeat_obj`, `loss_defeat_bg` (neck), `loss_defeat_backbone_obj`, `_bg`,
    `loss_defeat_cls_obj`, `_bg` (head), as far as they are switched on.

    Raises:
        ConfigError: the detector has no neck, or a value does not exist.
    """

    def __init__(self, *args: Any, teacher: dict, defeat: dict, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.with_neck:
            raise ConfigError(f'{type(self).__name__}: the student needs a neck, whose levels are imitated')
        self.teacher = FrozenTeacher(**teacher)
        self.distiller = DeFeatDistiller(class_count(self), **defeat)

    def init_weights(self) -> None:
        """Initialise the student and load the teacher, so that a run without a usable one ends before it begins."""
        super().init_weights()
        self.teacher.load(self)

    def _apply(self, fn, *args, **kwargs):
        """Take the teacher along to another device or number type."""
        if self.teacher.model is not None:
            self.teacher.model._apply(fn, *args, **kwargs)
        return super()._apply(fn, *args, **kwargs)

    @property
    def prior_generator(self) -> Any:
        """The priors on the neck's levels, or None."""
        return getattr(self.bbox_head, 'prior_generator', None)

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Losses of the detector and of the imitation.

        Args:
            batch_inputs: (N, 3, H, W), normalised.
            batch_data_samples: annotations of the N images.
        """
        teacher, proposals = self._ask_teacher(batch_inputs, batch_data_samples)
        with outputs_of(backbone=self.backbone, neck=self.neck) as seen, self._recording() as sampled:
            losses = super().loss(batch_inputs, batch_data_samples)
        student = Features(list(seen['neck']), self._stages(self.backbone, seen['backbone']))
        boxes = [get_box_tensor(sample.gt_instances.bboxes) for sample in batch_data_samples]
        imitation = self.distiller(student, teacher, boxes, tuple(batch_inputs.shape[2:]), self.prior_generator)
        imitation |= self._imitate_head(student, teacher, proposals, sampled)
        losses.update(self.distiller.scaled(imitation))
        return losses

    @torch.no_grad()
    def _ask_teacher(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> tuple[Features, Any]:
        """The teacher's maps, and what the head term needs of it."""
        teacher = self.teacher.load(self)
        recording = outputs_of(backbone=teacher.backbone) if self.distiller.stages else nullcontext({})
        with recording as seen:
            neck = list(teacher.extract_feat(batch_inputs))
        features = Features(neck, self._stages(teacher.backbone, seen.pop('backbone', ())))
        return features, self._teacher_proposals(teacher, neck, batch_data_samples)

    def _stages(self, backbone: nn.Module, outputs: tuple[Tensor, ...]) -> list[Tensor]:
        """The imitated ones among a backbone's outputs."""
        numbers = list(getattr(backbone, 'out_indices', range(len(outputs))))
        missing = [stage for stage in self.distiller.stages if stage not in numbers]
        if missing:
            raise ConfigError(f'model.defeat.backbone.stages={self.distiller.stages}: {type(backbone).__name__} puts '
                              f'out the stages {numbers}')
        return [outputs[numbers.index(stage)] for stage in self.distiller.stages]

    def _recording(self):
        return nullcontext({})

    def _teacher_proposals(self, teacher: nn.Module, neck: list[Tensor], samples: SampleList) -> Any:
        return None

    def _imitate_head(self, student: Features, teacher: Features, proposals: Any, sampled: dict) -> dict[str, Tensor]:
        return {}


@MODELS.register_module()
class DeFeatSingleStageDetector(DeFeatMixin, SingleStageDetector):
    """One-stage detector with a teacher; see `DeFeatMixin`.

    Raises:
        ConfigError: a head term was asked for.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.distiller.head is not None:
            raise ConfigError('model.defeat.head: the head term compares class scores of proposals, which one-stage '
                              'detectors do not have; leave it out')


@MODELS.register_module()
class DeFeatTwoStageDetector(DeFeatMixin, TwoStageDetector):
    """Two-stage detector with a teacher; see `DeFeatMixin`.

    The head term needs a RoI head with one box head (`StandardRoIHead`) in both detectors.
    """

    @property
    def prior_generator(self) -> Any:
        """The anchors of the proposal network."""
        return self.rpn_head.prior_generator if self.with_rpn else None

    def _recording(self):
        return sampled_by(self.roi_head) if self.distiller.roi_source == 'student' else nullcontext({})

    def _teacher_proposals(self, teacher: nn.Module, neck: list[Tensor], samples: SampleList
                           ) -> tuple[Tensor, Tensor, Tensor] | None:
        """(RoIs, labels, teacher's logits) of the teacher's own proposals, if they are the source."""
        if self.distiller.head is None:
            return None
        for name, detector in (('teacher', teacher), ('student', self)):
            if not isinstance(getattr(getattr(detector, 'roi_head', None), 'bbox_head', None), nn.Module) \
                    or isinstance(detector.roi_head.bbox_head, nn.ModuleList):
                raise ConfigError(f'model.defeat.head: the {name} ({type(detector).__name__}) has no RoI head with one '
                                  'box head; leave the head term out')
        if self.distiller.roi_source == 'student':
            return None
        rois, labels = rois_and_labels(sample_proposals(teacher, neck, samples), self.distiller.head.num_classes)
        return rois, labels, teacher.roi_head._bbox_forward(neck, rois)['cls_score']

    def _imitate_head(self, student: Features, teacher: Features, proposals: Any, sampled: dict) -> dict[str, Tensor]:
        head = self.distiller.head
        if head is None:
            return {}
        if proposals is not None:
            rois, labels, scores = proposals
            return head(self.roi_head._bbox_forward(student.neck, rois)['cls_score'], scores, labels)
        rois, labels = rois_and_labels(sampled['sampling_results'], head.num_classes)
        with torch.no_grad():
            scores = self.teacher.load(self).roi_head._bbox_forward(teacher.neck, rois)['cls_score']
        return head(sampled['cls_score'], scores, labels)


def sample_proposals(detector: nn.Module, neck: list[Tensor], samples: SampleList) -> list:
    """Sampling results of a two-stage detector's own proposals, by its training settings, one per image."""
    metas = [sample.metainfo for sample in samples]
    settings = detector.train_cfg.get('rpn_proposal', detector.test_cfg.rpn)
    found = detector.rpn_head.predict_by_feat(*detector.rpn_head(neck), batch_img_metas=metas, cfg=settings)
    instances, ignored, _ = unpack_gt_instances(samples)
    head, results = detector.roi_head, []
    for index, proposals in enumerate(found):
        proposals.priors = proposals.pop('bboxes')
        assigned = head.bbox_assigner.assign(proposals, instances[index], ignored[index])
        results.append(head.bbox_sampler.sample(assigned, proposals, instances[index],
                                                feats=[level[index][None] for level in neck]))
    return results


def rois_and_labels(results: list, num_classes: int) -> tuple[Tensor, Tensor]:
    """RoIs (K, 5) of sampling results and their labels (K), `num_classes` for the negative ones."""
    labels = [torch.cat([result.pos_gt_labels, result.neg_inds.new_full(result.neg_inds.shape, num_classes)])
              for result in results]
    return bbox2roi([result.priors for result in results]), torch.cat(labels)
