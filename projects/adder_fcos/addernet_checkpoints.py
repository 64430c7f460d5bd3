"""Converts the released classification checkpoints of huawei-noah/AdderNet into backbones of ``AdderResNet``.

Those files were saved from ``DataParallel`` (names begin with ``module.``), call an adder filter ``adder`` and its
bias ``b``, and hold a classifier (``fc``) with a batch norm on the logits (``bn2`` at the top level).
"""

import re

import torch

from .adder_resnet import AdderResNet

CLASSIFIER = re.compile(r'^(fc|bn2)\.')
RENAMES = ((re.compile(r'\.adder$'), '.weight'), (re.compile(r'\.b$'), '.bias'))


def convert_addernet(state_dict):
    """Renames the entries of an official AdderNet ``state_dict`` and drops its classifier.

    Args:
        state_dict (dict[str, Tensor]): as released, or with the prefix already stripped.

    Returns:
        tuple[dict[str, Tensor], int]: the backbone's state and the depth of the ``AdderResNet`` that it fits.

    Raises:
        ValueError: the state fits no AdderResNet; names what is missing from the closest depth.
    """
    converted = {}
    for name, value in state_dict.items():
        name = name.removeprefix('module.')
        if CLASSIFIER.match(name):
            continue
        for pattern, new in RENAMES:
            name = pattern.sub(new, name)
        converted[name] = value
    return converted, _matching_depth(converted)


def _matching_depth(state):
    shapes = {name: tuple(value.shape) for name, value in state.items() if not name.endswith('num_batches_tracked')}
    differences = {}
    for depth in (18, 34, 50, 101, 152):
        with torch.device('meta'):  # names and shapes, no memory
            model = AdderResNet(depth)
        expected = {name: tuple(value.shape) for name, value in model.state_dict().items()
                    if not name.endswith('num_batches_tracked')}
        wrong = sorted(name for name in expected.keys() | shapes.keys() if expected.get(name) != shapes.get(name))
        if not wrong:
            return depth
        differences[depth] = wrong
    depth, wrong = min(differences.items(), key=lambda item: len(item[1]))
    raise ValueError(f'no AdderResNet has these parameters; the closest, depth {depth}, differs in {len(wrong)} '
                     f'of them: {", ".join(wrong[:5])}. Expected the state_dict of an official AdderNet '
                     'ResNet for ImageNet.')
