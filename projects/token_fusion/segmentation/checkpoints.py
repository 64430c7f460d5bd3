"""Weights of other formats for the RGB-D segmentor: SegFormer's encoders and the official TokenFusion checkpoints.

Formats of encoders, told apart by their keys, with any of the prefixes that whole models put before them:

- official SegFormer, ``mit_bX.pth``: ``block1.0.attn.q.weight``; its norms go to all modalities alike
- mmseg's: ``layers.0.1.0.attn.attn.in_proj_weight``; the same
- official TokenFusion: ``encoder.block1.0.norm1.ln_0.weight``, norms and score nets of each modality
- own: ``stages.0.blocks.0.norm1.weight``, (M, C)
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from projects.runtime.checkpoint_files import read_weights
from projects.runtime.checkpoint_hooks import compare_weights
from projects.runtime.errors import CheckpointError

from ..modality_layers import ModalityLayers

_MODALITY = re.compile(r'\.ln_(\d+)')
_PREFIX = re.compile(r'^(module\.)?(backbone\.|encoder\.)')
_OFFICIAL = [(re.compile(pattern), into) for pattern, into in (
    (r'^patch_embed(\d+)\.(proj|norm)\.(\w+)$', r'stages.{0}.patch_embed.\2.\3'),
    (r'^block(\d+)\.(\d+)\.mlp\.dwconv\.dwconv\.(\w+)$', r'stages.{0}.blocks.\2.mlp.dwconv.\3'),
    (r'^block(\d+)\.(\d+)\.(norm1|norm2|attn\.(?:q|kv|proj|sr|norm)|mlp\.fc[12])\.(\w+)$',
     r'stages.{0}.blocks.\2.\3.\4'),
    (r'^norm(\d+)\.(\w+)$', r'stages.{0}.norm.\2'))]
_SCORES = re.compile(r'^score_predictor\.(\d+)\.score_nets\.(\d+)\.(\d+)\.(\w+)$')
_MMSEG = [(re.compile(pattern), into) for pattern, into in (
    (r'^layers\.(\d+)\.0\.projection\.', r'stages.\1.patch_embed.proj.'),
    (r'^layers\.(\d+)\.0\.norm\.', r'stages.\1.patch_embed.norm.'),
    (r'^layers\.(\d+)\.1\.(\d+)\.attn\.attn\.out_proj\.', r'stages.\1.blocks.\2.attn.proj.'),
    (r'^layers\.(\d+)\.1\.(\d+)\.attn\.attn\.in_proj_', r'stages.\1.blocks.\2.attn.in_proj.'),
    (r'^layers\.(\d+)\.1\.(\d+)\.ffn\.layers\.0\.', r'stages.\1.blocks.\2.mlp.fc1.'),
    (r'^layers\.(\d+)\.1\.(\d+)\.ffn\.layers\.1\.', r'stages.\1.blocks.\2.mlp.dwconv.'),
    (r'^layers\.(\d+)\.1\.(\d+)\.ffn\.layers\.4\.', r'stages.\1.blocks.\2.mlp.fc2.'),
    (r'^layers\.(\d+)\.1\.(\d+)\.(norm1|norm2|attn\.sr|attn\.norm)\.', r'stages.\1.blocks.\2.\3.'),
    (r'^layers\.(\d+)\.2\.', r'stages.\1.norm.'))]
_DECODER = [(re.compile(pattern), into) for pattern, into in (
    (r'^decoder\.linear_c(\d+)\.proj\.', r'decode_head.convs.{0}.'),
    (r'^decoder\.linear_fuse\.conv\.', r'decode_head.fusion_conv.'),
    (r'^decoder\.linear_fuse\.bn\.', r'decode_head.bn.'),
    (r'^decoder\.linear_pred\.', r'decode_head.conv_seg.'),
    (r'^alpha$', r'decode_head.ensemble.alpha'))]
_NORM = re.compile(r'(^|\.)norm[12]?\.(weight|bias)$')
_OWN_RANDOM = ('.score_nets.', '.position', '.allocation.')
"""Parts that no pretrained encoder has."""
_SHOWN = 6


def _named(keys: list[str]) -> str:
    more = f' and {len(keys) - _SHOWN} more' if len(keys) > _SHOWN else ''
    return ', '.join(keys[:_SHOWN]) + more


def _renamed(key: str, table: list[tuple[re.Pattern, str]]) -> str | None:
    """The key by the first pattern that matches; {0} is the first number, counted from 0 instead of 1."""
    for pattern, into in table:
        match = pattern.search(key)
        if match:
            before_one = int(match[1]) - 1 if '{0}' in into else 0
            return pattern.sub(into.replace('{0}', str(before_one)), key)
    return None


def _entries(key: str, value: Tensor) -> list[tuple[str, int | None, Tensor]] | None:
    """Own names, modalities (None: all) and values of an encoder's entry; None for an unknown one."""
    found = _MODALITY.search(key)
    modality = int(found[1]) if found else None
    plain = _MODALITY.sub('', key).replace('.module.', '.')
    scores = _SCORES.match(plain)
    if scores:
        return [(f'stages.{scores[1]}.score_nets.0.nets.{scores[2]}.layers.{scores[3]}.{scores[4]}', modality, value)]
    own = plain if plain.startswith('stages.') else _renamed(plain, _OFFICIAL) or _renamed(plain, _MMSEG)
    if own is None:
        return None
    if '.attn.in_proj.' in own:  # query, key and value of torch's attention in one
        width = len(value) // 3
        return [(own.replace('in_proj', 'q'), None, value[:width]), (own.replace('in_proj', 'kv'), None, value[width:])]
    if '.mlp.fc' in own and value.dim() == 4:
        value = value.flatten(1)
    return [(own, modality, value)]


def _encoder_part(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of the encoder, without the prefix of a whole model."""
    whole = {_PREFIX.sub('', key): value for key, value in state.items() if _PREFIX.match(key)}
    plain = {key.removeprefix('module.'): value for key, value in state.items()}
    return whole or {key: value for key, value in plain.items() if not key.startswith('head.')}


def convert_encoder(state: Mapping[str, Tensor], num_modalities: int = 2) -> dict[str, Tensor]:
    """Entries of a ``TokenFusionMiT`` from an encoder, or the encoder of a whole model, of any of the formats.

    Args:
        state: Weights; entries of a classification head or a decoder are left out.
        num_modalities: M, of norms that are given once; 1 where the modalities share them.

    Raises:
        CheckpointError: unknown entries, or norms of some modalities only.
    """
    unknown, converted = [], {}
    rows: dict[str, dict[int, Tensor]] = {}
    for key, value in _encoder_part(state).items():
        entries = _entries(key, value)
        if entries is None:
            unknown.append(key)
            continue
        for own, modality, part in entries:
            if modality is not None:
                rows.setdefault(own, {})[modality] = part
            elif _NORM.search(own) and part.dim() == 1:
                converted[own] = part.expand(num_modalities, -1).clone()
            else:
                converted[own] = part
    if unknown:
        raise CheckpointError(f'unknown entries: {_named(unknown)}. Expected an encoder of SegFormer in the official '
                              "or mmseg's format, or a TokenFusion checkpoint")
    for own, parts in rows.items():
        if sorted(parts) != list(range(num_modalities)):
            raise CheckpointError(f'{own}: given for modalities {sorted(parts)}, but the model has {num_modalities}')
        converted[own] = torch.stack([parts[m] for m in range(num_modalities)])
    return converted


def convert_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Entries of a ``TokenFusionSegmentor`` from the official code's whole model (two modalities).

    Raises:
        CheckpointError: unknown entries, or none of an encoder or of a decoder.
    """
    plain = {key.removeprefix('module.'): value for key, value in state.items()}
    encoder = {key: value for key, value in plain.items() if key.startswith('encoder.')}
    converted, unknown = {}, []
    for key in plain.keys() - encoder.keys():
        own = _renamed(key, _DECODER)
        if own is None:
            unknown.append(key)
        else:
            value = plain[key]
            converted[own] = value[..., None, None] if '.convs.' in own and value.dim() == 2 else value
    if unknown:
        raise CheckpointError(f'unknown entries: {_named(sorted(unknown))}. Expected encoder.*, decoder.* and alpha of '
                              'the official TokenFusion segmentor')
    if not encoder or not converted:
        raise CheckpointError('no entries of an encoder (encoder.*) or of a decoder (decoder.*). Expected a whole '
                              'TokenFusion segmentor; an encoder alone is read by model.backbone.init_cfg')
    converted.update({f'backbone.{key}': value for key, value in convert_encoder(encoder).items()})
    return converted


def _copied(encoder: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same with the weights of a shared layer once for each modality where the encoder has copies of it."""
    copies = {name for name, part in encoder.named_modules() if isinstance(part, ModalityLayers)}
    copied = {}
    for key, value in weights.items():
        layer, _, kind = key.rpartition('.')
        keys = [f'{layer}.{m}.{kind}' for m in range(encoder.num_modalities)] if layer in copies else [key]
        copied.update(dict.fromkeys(keys, value))
    return copied


def load_encoder(encoder: nn.Module, path: str) -> None:
    """Load a checkpoint of any of the formats into a ``TokenFusionMiT``.

    Score nets and positional embeddings keep their values where the checkpoint has none.

    Raises:
        CheckpointError: unreadable, or entries do not match; the message names them.
    """
    try:
        weights = convert_encoder(read_weights(path), len(encoder.stages[0].norm.weight))
    except CheckpointError as error:
        if str(path) in str(error):
            raise
        raise CheckpointError(f'{path}: {error}') from None
    own = encoder.state_dict()
    weights = _copied(encoder, weights)
    weights = {key: value for key, value in weights.items() if key in own or '.score_nets.' not in key}
    missing, differing, unexpected = compare_weights(encoder, weights)
    missing = [key for key in missing if not any(part in key for part in _OWN_RANDOM)]
    labels = ('missing in the file', 'of another shape', 'unknown to the model')
    found = zip(labels, (missing, differing, unexpected), strict=True)
    faults = [f'{label}: {_named(keys)}' for label, keys in found if keys]
    if faults:
        raise CheckpointError(f'{path}: does not fit model.backbone ({type(encoder).__name__}). ' + '; '.join(faults)
                              + '. Is it an encoder of another size (arch)?')
