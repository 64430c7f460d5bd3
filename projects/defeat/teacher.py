"""The frozen teacher of a distilled detector.

It is a plain object, not a module: its weights are in no state dict, optimiser or data-parallel wrapper, it stays in
eval mode, and copies of the student (exponential moving averages) have none until they are trained. It is read from
config and checkpoint when training begins, so that testing needs neither.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from torch import nn

from projects.runtime.checkpoint_files import read_checkpoint
from projects.runtime.checkpoint_hooks import match_weights
from projects.runtime.config_files import load_config
from projects.runtime.errors import CheckpointError, ConfigError


def class_count(detector: nn.Module) -> int:
    """Number of classes of a detector's (first) box head."""
    head = detector.roi_head.bbox_head if hasattr(detector, 'roi_head') else detector.bbox_head
    return (head[0] if isinstance(head, nn.ModuleList) else head).num_classes


def _set_class_count(part: Any, count: int) -> None:
    """Replace `num_classes` in all heads of a model's config, but not in the proposal head."""
    if isinstance(part, dict):
        if 'num_classes' in part:
            part['num_classes'] = count
        for key, value in part.items():
            if key != 'rpn_head':
                _set_class_count(value, count)
    elif isinstance(part, (list, tuple)):
        for item in part:
            _set_class_count(item, count)


class FrozenTeacher:
    """A detector that is only ever asked, loaded at the first `load`.

    Args:
        config: file of the teacher's config, or the config itself, a dict with the key `model`.
        checkpoint: its weights, a file or URL; every entry must fit. None leaves the weights as they are built, with
            a warning: for tests.
        num_classes: classes of the teacher's heads, if other than in its config; `--cfg-options classes=a,b` sets it.
        allow_other_classes: accept a teacher of other classes than the student's, whose features alone are imitated.
    """

    def __init__(self, config: str | Path | dict[str, Any], checkpoint: str | None, num_classes: int | None = None,
                 allow_other_classes: bool = False) -> None:
        self.config, self.checkpoint = config, checkpoint
        self.num_classes, self.allow_other_classes = num_classes, allow_other_classes
        self.model: nn.Module | None = None
        self._origin: nn.Module | None = None
        self.classes: tuple[str, ...] | None = None

    def __deepcopy__(self, memo: dict) -> 'FrozenTeacher':
        """A teacher of its own for a copy of the student, made when that is trained: most copies never are (EMA)."""
        twin = FrozenTeacher(self.config, self.checkpoint, self.num_classes, self.allow_other_classes)
        twin.classes, twin._origin = self.classes, self.model or self._origin
        return twin

    def __repr__(self) -> str:
        return f'FrozenTeacher({self._name()}, checkpoint={self.checkpoint})'

    def _name(self) -> str:
        return 'the config given as a dict' if isinstance(self.config, dict) else str(self.config)

    def load(self, student: nn.Module) -> nn.Module:
        """The teacher, which the first call builds, loads and compares with the student.

        Raises:
            ConfigError: the config cannot be used, or the two differ in classes, normalisation or the kind of neck.
            CheckpointError: the checkpoint is missing, broken or of another model.
        """
        if self.model is None:
            if self._origin is not None:
                model, self._origin = deepcopy(self._origin), None
            else:
                model = self._build()
                self._load_weights(model)
                self._compare(model, student)
            weight = next(student.parameters())
            self.model = model.requires_grad_(False).eval().to(weight.device, weight.dtype)
        return self.model

    def _build(self) -> nn.Module:
        cfg = self.config if isinstance(self.config, dict) else load_config(self.config)
        if 'model' not in cfg:
            raise ConfigError(f'model.teacher.config: {self._name()} has no key "model": expected a detector\'s config')
        model = Config(dict(model=ConfigDict(cfg['model']).to_dict())).model
        if self.num_classes is not None:
            _set_class_count(model, self.num_classes)
        return MODELS.build(model)

    def _load_weights(self, model: nn.Module) -> None:
        if self.checkpoint is None:
            print_log(f'model.teacher.checkpoint is None: the teacher ({self._name()}) has random weights.', 'current',
                      30)
            return
        try:
            content = read_checkpoint(self.checkpoint)
            match_weights(model, content, strict=True)
        except CheckpointError as error:
            raise CheckpointError(
                f'model.teacher.checkpoint={self.checkpoint} (config {self._name()}): {error}\nTrain the teacher first '
                'or name another one: --cfg-options model.teacher.checkpoint=FILE model.teacher.config=CONFIG'
            ) from error
        meta = content.get('meta') or {}
        classes = (meta.get('dataset_meta') or {}).get('classes') or meta.get('CLASSES')
        self.classes = tuple(classes) if classes else None

    def _compare(self, model: nn.Module, student: nn.Module) -> None:
        if not getattr(model, 'with_neck', False):
            raise ConfigError(f'model.teacher.config: {type(model).__name__} of {self._name()} has no neck to imitate')
        counts = class_count(model), class_count(student)
        if counts[0] != counts[1] and not self.allow_other_classes:
            raise ConfigError(
                f'the teacher ({self._name()}) knows {counts[0]} classes, the student {counts[1]}. Expected a teacher '
                'trained on the same classes; set model.teacher.num_classes if the checkpoint is of such a one, or '
                'model.teacher.allow_other_classes=True to imitate features alone')
        given = [_normalisation(item.data_preprocessor) for item in (model, student)]
        if given[0] != given[1]:
            raise ConfigError(
                f'the teacher ({self._name()}) expects images normalised with {given[0]}, the student {given[1]}. Both '
                'see the same input: give model.data_preprocessor the values that the teacher was trained with')

    def check_classes(self, names: tuple[str, ...]) -> None:
        """Compare the class names stored in the teacher's checkpoint, if any, with those of the training set.

        Raises:
            ConfigError: they differ, in names or order.
        """
        if self.classes is None or self.allow_other_classes or tuple(names) == self.classes:
            return
        raise ConfigError(
            f'model.teacher.checkpoint={self.checkpoint} was trained on the classes {", ".join(self.classes[:20])}; '
            f'the student\'s training set has {", ".join(names[:20])}. Expected the same names in the same order; '
            'model.teacher.allow_other_classes=True imitates features of another teacher')


def _normalisation(preprocessor: nn.Module) -> str:
    """Mean, standard deviation and channel order as a comparable sentence."""
    if not getattr(preprocessor, '_enable_normalize', False):
        return 'nothing'
    order = 'swapped channels' if getattr(preprocessor, '_channel_conversion', False) else 'channels as read'
    mean, std = ([round(value, 3) for value in torch.flatten(item).tolist()]
                 for item in (preprocessor.mean, preprocessor.std))
    return f'mean {mean}, std {std}, {order}'
