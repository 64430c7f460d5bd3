"""What one inference pass is, for the models of each task, and how large its image is by default.

Tasks are told by the parts that a model has, so nothing of mmdet, mmseg, mmdet3d or a method is imported here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

GATES = dict(dearest=max, cheapest=min)
"""Decisions that dynamic pyramids can be held to, see :func:`fixed_gates`."""
OUTPUT_SIZE = 720, 1280
"""Height and width of restored images that tables of super-resolution are made for."""
TRANSLATED_SIZE = 256, 256
"""Height and width that image translation is trained and tested at (arXiv 2204.08721)."""
LONGEST = 2
"""Longest image, as a multiple of its height, whose size is taken from a pipeline."""


def gated(model: nn.Module) -> list[nn.Module]:
    """Modules that decide for each image what to compute: with ``gates``, ``decide`` and ``choice_costs`` (DyFPN)."""
    return [module for module in model.modules()
            if all(hasattr(module, name) for name in ('gates', 'decide', 'choice_costs'))]


@contextmanager
def fixed_gates(model: nn.Module, choice: str) -> Iterator[None]:
    """Hold every gate of a model to one decision.

    The gates are computed and counted. Decisions lie on the CPU, so that the pass works on the meta device, with one
    image.

    Args:
        model: with or without gates.
        choice: 'dearest' or 'cheapest', by the costs that the module itself names.
    """
    necks = gated(model)
    for neck in necks:
        neck.decide = lambda maps, neck=neck: _decisions(neck, maps, GATES[choice])
    try:
        yield
    finally:
        for neck in necks:
            del neck.decide


def _decisions(neck, maps, pick):
    neck.gates(maps)
    costs = neck.choice_costs([tuple(x.shape[2:]) for x in maps])
    chosen = [F.one_hot(torch.tensor([level.index(pick(level))] * len(maps[0])), len(level)).float()
              for level in costs]
    return chosen, chosen


def _listed(value: Any) -> list:
    return list(value) if isinstance(value, (list, tuple, nn.ModuleList)) else [value]


def _regions(extractor, maps, number):
    """Features (number, C, h, w) as pooled from `maps`; pooling itself counts nothing and has no meta form."""
    return maps[0].new_empty(number, extractor.out_channels, *_listed(extractor.roi_layers[0].output_size))


def two_stage_pass(model: nn.Module, images: torch.Tensor) -> None:
    """Backbone, neck, proposals' head and all stages of the region heads of an mmdet detector.

    Box heads get as many regions as the proposals' `max_per_img` (1000 as a rule), mask heads as many as the
    detections' (100): what an image with that many yields.
    """
    maps = model.extract_feat(images)
    model.rpn_head(maps)
    heads = model.roi_head
    parts = [(heads.bbox_roi_extractor, heads.bbox_head, model.test_cfg['rpn']['max_per_img'])]
    if heads.with_mask:
        extractor = heads.bbox_roi_extractor if heads.share_roi_extractor else heads.mask_roi_extractor
        parts.append((extractor, heads.mask_head, model.test_cfg['rcnn']['max_per_img']))
    for extractor, head, number in parts:
        for own, stage in zip(_listed(extractor), _listed(head), strict=True):
            stage(_regions(own, maps, number * len(images)))


def restoration_pass(model: nn.Module, images: torch.Tensor) -> None:
    """The network of a restorer; images of another size than the network's windows as its `test_cfg` cuts them.

    Of a network of several tasks the first one runs.
    """
    tasks, side = getattr(model.generator, 'tasks', None), getattr(model.generator, 'patch_size', None)
    samples = [dict(task=tasks[0])] * len(images) if tasks else None
    whole = side is not None and images.shape[-2:] != (side, side)
    (model.restore if whole else model.forward_tensor)(images, samples)


def image_pass(model: nn.Module, images: torch.Tensor) -> None:
    """One pass of a detector, segmentor or restorer up to the outputs of its heads, for (N, C, H, W).

    Works on the meta device, if the model has no gates or they are fixed.
    """
    if hasattr(model, 'roi_head') and hasattr(model, 'rpn_head'):
        two_stage_pass(model, images)
    elif hasattr(model, 'forward_tensor'):
        restoration_pass(model, images)
    else:
        model(images, mode='tensor')  # segmentors, one-stage detectors, translators


def input_size(model: nn.Module, shape: tuple[int, int]) -> tuple[int, ...]:
    """Size of the tensor that a model takes for one image of `shape`.

    (1, C, H, W) with the channels of all modalities, or for translators, which name their `inputs`, (M, 1, 3, H, W).
    """
    if hasattr(model, 'generator') and hasattr(model, 'inputs'):
        return len(model.inputs), 1, 3, *shape
    if getattr(model.data_preprocessor, 'channels', 'rgb') == 'y':
        return 1, 1, *shape
    modalities = getattr(getattr(model, 'backbone', None), 'channels', None)  # of a backbone of several, by name
    return 1, sum(modalities.values()) if isinstance(modalities, dict) else 3, *shape


def default_shape(cfg: Any, model: nn.Module) -> tuple[int, int]:
    """Height and width of the image that a config's model is counted for.

    Restoration: what gives 720 x 1280 pixels, or the network's window (IPT, as in its paper); image translation:
    256 x 256. Otherwise the `scale` of the test pipeline's `Resize`, lying, as it is: images are not padded as in a
    data set's pass. Where that is only a bound, as (2048, 512), or is not there: the data preprocessor's `size`.

    Raises:
        LookupError: nothing of this is there.
    """
    if hasattr(model, 'forward_tensor'):
        side = getattr(model.generator, 'patch_size', None)
        scale = cfg.model.generator.get('upscale_factor') or getattr(model.generator, 'upscale_factor', 1)
        return (side, side) if side else tuple(round(length / scale) for length in OUTPUT_SIZE)
    scales = [step['scale'] for step in _steps((cfg.get('test_dataloader') or {}).get('dataset'))
              if step.get('type') == 'Resize' and step.get('scale')]
    if scales and max(scales[0]) <= LONGEST * min(scales[0]):
        return min(scales[0]), max(scales[0])
    if hasattr(model, 'generator'):  # a translator
        return TRANSLATED_SIZE
    if getattr(model.data_preprocessor, 'size', None):
        return tuple(model.data_preprocessor.size)
    raise LookupError('neither a Resize with a scale in the test pipeline nor a size in the data preprocessor')


def _steps(dataset: Any) -> Iterator[dict]:
    """Steps of the first pipeline in a data set's config, through its wrappers."""
    while isinstance(dataset, dict) and 'pipeline' not in dataset:
        dataset = dataset.get('dataset') or next(iter(dataset.get('datasets') or []), None)
    yield from dataset['pipeline'] if isinstance(dataset, dict) else ()
