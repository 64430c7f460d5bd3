"""Segmentors with pruned widths, rebuilt from the dense model's config and a structure file.

The config of the pruned model is that of the dense one with another `type` and the key `structure`; the names of
weights are the dense model's, so checkpoints, heads and tools see an ordinary segmentor. Torch-Pruning is not needed.
"""

from pathlib import Path
from typing import Any

from mmengine.model import BaseModule
from mmseg.models import CascadeEncoderDecoder, EncoderDecoder
from mmseg.registry import MODELS

from projects.runtime.errors import ConfigError

from .structure import PrunedStructure


class _PrunedMixin:
    """Builds the dense model and gives it the widths of a structure.

    Initialisation from a dense checkpoint (`pretrained`, `init_cfg=dict(type='Pretrained')`) is dropped: it does not
    fit. The weights come from the checkpoint beside the structure file, by `load_from`.

    Args:
        structure (str | dict): path of the structure file, or its content.
        kwargs: arguments of the dense model.

    Raises:
        StructureError: the file is missing, broken, or belongs to another model.
    """

    def __init__(self, *args, structure: str | Path | dict[str, Any], **kwargs) -> None:
        kwargs.pop('pretrained', None)
        super().__init__(*args, **kwargs)
        self.structure = PrunedStructure.load(structure)
        self.structure.apply(self)
        for module in self.modules():
            if isinstance(module, BaseModule) and _is_pretrained(module.init_cfg):
                module.init_cfg = None


def _is_pretrained(init_cfg: Any) -> bool:
    parts = init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]
    return any(part is not None and part.get('type') == 'Pretrained' for part in parts)


@MODELS.register_module()
class PrunedSegmentor(_PrunedMixin, EncoderDecoder):
    """mmseg's `EncoderDecoder` with pruned widths; the arguments are its own and `structure` (path or dict)."""


@MODELS.register_module()
class PrunedCascadeSegmentor(_PrunedMixin, CascadeEncoderDecoder):
    """mmseg's `CascadeEncoderDecoder` with pruned widths; the arguments are its own and `structure` (path or dict)."""


PRUNED_TYPES = dict(EncoderDecoder='PrunedSegmentor', CascadeEncoderDecoder='PrunedCascadeSegmentor')


def pruned_config(model: dict[str, Any], structure: str) -> dict[str, Any]:
    """The model config of the pruned network.

    Args:
        model: that of the dense segmentor.
        structure: path of the structure file.

    Raises:
        ConfigError: there is no pruned twin of its type.
    """
    kind = str(model.get('type')).split('.')[-1]
    if kind not in PRUNED_TYPES:
        raise ConfigError(f'model.type={model.get("type")!r}: no pruned form of it is registered. Expected '
                          f'{" or ".join(PRUNED_TYPES)}')
    return {**model, 'type': PRUNED_TYPES[kind], 'structure': structure, 'pretrained': None}
