"""The distillation part of a training step: masks, terms, weights over time (arXiv 2103.14475)."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from projects.runtime.errors import ConfigError

from .losses import BackboneLoss, DecoupledHeadLoss, DecoupledNeckLoss
from .masks import MASK_ASSIGN, anchor_masks, backbone_masks, object_masks
from .schedule import DistillationSchedule

MASKS = ('gt', 'whole', 'fgfi')
ROI_SOURCES = ('teacher', 'student')


@dataclass
class Features:
    """What one detector computed: the neck's levels and the imitated backbone stages, (N, C, H, W) each."""

    neck: list[Tensor]
    backbone: list[Tensor] = field(default_factory=list)


class NeckMasks:
    """Masks of the neck's levels for a batch.

    Args:
        kind: 'gt' (DeFeat), 'whole' (no mask: whole-feature imitation), 'fgfi' (near-object anchors; heads with
            anchors only).
        mask_assign: 'scale' or 'all', see `object_masks`.
        finest_scale: object size from which on level 1 is used is twice this, in pixels.
        strides: of the neck's levels; None: those of the head's priors.
        phi: threshold of 'fgfi'.
    """

    def __init__(self, kind: str = 'gt', mask_assign: str = 'scale', finest_scale: float = 56,
                 strides: list[float] | None = None, phi: float = 0.5) -> None:
        if kind not in MASKS or mask_assign not in MASK_ASSIGN:
            raise ConfigError(f'model.defeat.masks: kind={kind!r}, mask_assign={mask_assign!r}: expected one of '
                              f'{MASKS} and one of {MASK_ASSIGN}')
        self.kind, self.mask_assign, self.finest_scale = kind, mask_assign, finest_scale
        self.strides, self.phi = strides, phi

    def __call__(self, boxes: list[Tensor], levels: list[Tensor], priors: Any) -> list[Tensor] | None:
        """(N, H_l, W_l) of each level, or None for no mask.

        Args:
            boxes: ground truth, (M_i, 4) of each image.
            levels: the neck's maps, for their sizes.
            priors: the head's prior generator.
        """
        sizes = [tuple(level.shape[2:]) for level in levels]
        if self.kind == 'whole':
            return None
        if self.kind == 'fgfi':
            return anchor_masks(boxes, self._anchors(priors, sizes, boxes[0].device), sizes, self.phi)
        return object_masks(boxes, sizes, self._strides(priors, len(sizes)), mask_assign=self.mask_assign,
                            finest_scale=self.finest_scale)

    def _strides(self, priors: Any, count: int) -> list[float]:
        strides = self.strides
        if strides is None:
            strides = [pair[0] if isinstance(pair, (tuple, list)) else pair for pair in getattr(priors, 'strides', [])]
        if len(strides) != count:
            raise ConfigError(f'the neck has {count} levels, but the strides are {list(strides)}: give '
                              'model.defeat.masks.strides one number for each level')
        return strides

    @staticmethod
    def _anchors(priors: Any, sizes: list[tuple[int, int]], device) -> list[Tensor]:
        anchors = priors.grid_priors(sizes, device=device)
        if anchors[0].shape[-1] != 4:
            raise ConfigError(f'model.defeat.masks.kind="fgfi" needs anchors, but the head has {type(priors).__name__}')
        return anchors


class DeFeatDistiller(nn.Module):
    """All distillation terms of a detector. Its parameters are the adaptation layers.

    Args:
        num_classes: the student's classes.
        neck: arguments of `DecoupledNeckLoss`, or None.
        masks: arguments of `NeckMasks`.
        backbone: None, or arguments of `BackboneLoss` and `stages` (of the backbone, counted from 0; default C4 and C5,
            (2, 3)) and `masked` (default False).
        head: None, or arguments of `DecoupledHeadLoss` and `roi_source`: whose proposals and labels both heads see,
            'teacher' (default) or 'student'. Two-stage detectors only.
        decay, warmup_iters: see `DistillationSchedule`.

    Raises:
        ConfigError: a value that does not exist.
    """

    def __init__(self, num_classes: int, neck: dict | None = None, masks: dict | None = None,
                 backbone: dict | None = None, head: dict | None = None, decay: str | None = None,
                 warmup_iters: int = 0) -> None:
        super().__init__()
        self.neck = None if neck is None else DecoupledNeckLoss(**neck)
        self.masks = NeckMasks(**(masks or {}))
        self.stages, self.masked_backbone, self.roi_source = (), False, None
        self.backbone = self.head = None
        if backbone is not None:
            backbone = dict(backbone)
            self.stages, self.masked_backbone = tuple(backbone.pop('stages', (2, 3))), backbone.pop('masked', False)
            self.backbone = BackboneLoss(**backbone)
        if head is not None:
            head = dict(head)
            self.roi_source = head.pop('roi_source', 'teacher')
            self.head = DecoupledHeadLoss(num_classes, **head)
            if self.roi_source not in ROI_SOURCES:
                raise ConfigError(f'model.defeat.head.roi_source={self.roi_source!r}: expected one of {ROI_SOURCES}')
        self.schedule = DistillationSchedule(decay, warmup_iters)

    def forward(self, student: Features, teacher: Features, boxes: list[Tensor], image_size: tuple[int, int],
                priors: Any) -> dict[str, Tensor]:
        """Feature terms, before the schedule's factor.

        Args:
            student, teacher: what they computed of the same batch.
            boxes: ground truth, (M_i, 4) of each image, in pixels of the network input.
            image_size: its height and width.
            priors: the student's prior generator, for strides or anchors.
        """
        losses = {}
        if self.neck is not None:
            check_maps('neck', student.neck, teacher.neck, self.neck, image_size)
            masks = self.masks(boxes, student.neck, priors)
            parts = self.neck(student.neck, teacher.neck, masks)
            losses |= _named('loss_defeat', parts, self.neck, masks)
        if self.backbone is not None:
            check_maps('backbone', student.backbone, teacher.backbone, self.backbone, image_size)
            sizes = [tuple(stage.shape[2:]) for stage in student.backbone]
            masks = backbone_masks(boxes, image_size, sizes) if self.masked_backbone else None
            parts = self.backbone(student.backbone, teacher.backbone, masks)
            losses |= _named('loss_defeat_backbone', parts, self.backbone, masks)
        return losses

    def scaled(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """`losses` times the schedule's current factor.

        Raises:
            ConfigError: there is a schedule, and nobody tells how far the training is.
        """
        factor = self.schedule.factor
        if factor is None:
            raise ConfigError("model.defeat.decay and warmup_iters need custom_hooks=[dict(type='DeFeatHook')] in the "
                              'config, which tells the model how far the training is')
        return {key: value * factor for key, value in losses.items()}


def _named(prefix: str, parts: tuple[Tensor, Tensor], loss: nn.Module, masks: list[Tensor] | None
           ) -> dict[str, Tensor]:
    """The two parts under their names, except those that cannot contribute."""
    named = {f'{prefix}_obj': parts[0]} if loss.alpha_obj else {}
    if loss.alpha_bg and masks is not None:
        named[f'{prefix}_bg'] = parts[1]
    return named


def check_maps(where: str, student: list[Tensor], teacher: list[Tensor], loss: nn.Module,
               image_size: tuple[int, int]) -> None:
    """Compare number, widths and strides of the maps with each other and with the config.

    Raises:
        ConfigError: they do not fit; the message lists both detectors' maps.
    """
    def described(maps):
        return ', '.join(f'{item.shape[1]} channels at stride {_stride(image_size, item)}' for item in maps)

    def fail(reason):
        raise ConfigError(f'model.defeat.{where}: {reason}. Student: {described(student)}. Teacher: '
                          f'{described(teacher)}.')

    expected = len(loss.in_channels)
    if not len(student) == len(teacher) == expected:
        fail(f'the config expects {expected} maps, the student has {len(student)}, the teacher {len(teacher)}')
    for level, (s, t) in enumerate(zip(student, teacher, strict=True)):
        if s.shape[2:] != t.shape[2:]:
            fail(f'map {level} has another stride in the teacher. Take a teacher whose {where} has the same strides')
        if s.shape[1] != loss.in_channels[level]:
            fail(f'in_channels is {loss.in_channels[level]} for map {level}, the student has {s.shape[1]}')
        if t.shape[1] != loss.teacher_channels[level]:
            fail(f'teacher_channels is {loss.teacher_channels[level]} for map {level}, the teacher has {t.shape[1]}')


def _stride(image_size: tuple[int, int], feature: Tensor) -> str:
    return f'{image_size[0] / feature.shape[2]:.3g}'
