"""Names of the official code's generator weights (github.com/yikaiw/TokenFusion) in this package's."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from projects.runtime.errors import CheckpointError

_LAST_UPSAMPLE = 4
_RULES = (
    (r'patch_embed_enc\.(\d+)\.', r'encoder.stages.\1.patch_embed.'),
    (r'score_predictor\.(\d+)\.score_nets\.(\d+)\.', r'encoder.stages.\1.score_nets.0.nets.\2.layers.'),
    (r'block_enc\.(\d+)\.', r'encoder.stages.\1.blocks.'),
    (r'norm_enc\.(\d+)\.', r'encoder.stages.\1.norm.'),
    (rf'patch_embed_dec\.{_LAST_UPSAMPLE}\.', 'upsample.'),
    (r'patch_embed_dec\.(\d+)\.', r'decoder.\1.upsample.'),
    (r'block_dec\.(\d+)\.', r'decoder.\1.blocks.'),
    (r'norm_dec\.(\d+)\.', r'decoder.\1.norm.'),
    (r'alpha$', 'ensemble.alpha'),
    (r'project\.', 'project.'),
)
_UNUSED = re.compile(r'patch_embed_dec\.\d+\.norm\.')  # the official forward pass never calls it
_NORM = re.compile(r'(.+)\.(?:lrnorm|ln)_(\d+)\.(weight|bias)$')


def _renamed(name: str) -> str:
    for pattern, ours in _RULES:
        new, count = re.subn(f'^{pattern}', ours, name)
        if count:
            return new.replace('.module.', '.').replace('dwconv.dwconv.', 'dwconv.')
    raise CheckpointError(f'{name!r}: no name of the official generator; expected patch_embed_enc, score_predictor, '
                          'block_enc, norm_enc, patch_embed_dec, block_dec, norm_dec, project or alpha')


def convert_generator(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of ``TokenFusionGenerator`` of those of the official ``MixVisionTransformerGen``.

    The norms of the modalities (``lrnorm_0``, ``lrnorm_1``) become the rows of one tensor. The prefix ``module.`` of
    data-parallel models is dropped.

    Raises:
        CheckpointError: a name that the official generator does not have.
    """
    converted, rows = {}, {}
    for name, value in weights.items():
        name = name.removeprefix('module.')
        if _UNUSED.match(name):
            continue
        if match := _NORM.match(name):
            rows.setdefault(f'{_renamed(match[1] + ".")}{match[3]}', {})[int(match[2])] = value
        else:
            converted[_renamed(name)] = value
    return converted | {name: torch.stack([parts[m] for m in sorted(parts)]) for name, parts in rows.items()}
