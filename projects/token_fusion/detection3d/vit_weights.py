"""Makes a file for ``DetectionViT`` of released weights of DeiT (classifier) or YOLOS (detector)."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import torch

from projects.runtime.command_line import run_tool
from projects.runtime.conversion import convert_file, parse_conversion
from projects.runtime.errors import CheckpointError

EPILOG = """
The new file is what model.image_branch.init_cfg=dict(type='Pretrained', checkpoint=PATH) expects:

  python -m projects.token_fusion.detection3d.vit_weights deit_tiny_patch16_224-a1311bcf.pth data/deit_tiny.pth
"""
OTHER = ('head', 'head_dist', 'dist_token', 'class_embed', 'bbox_embed')
"""Parts of the released models that the image branch does not have."""


def convert(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """State of a ``DetectionViT`` from a released checkpoint.

    Args:
        weights: Named tensors.

    Raises:
        CheckpointError: no vision transformer is in it.
    """
    bare = {name.removeprefix('module.').removeprefix('backbone.'): value for name, value in weights.items()}
    state = {name: value for name, value in bare.items() if name.split('.')[0] not in OTHER}
    missing = [name for name in ('cls_token', 'pos_embed', 'patch_embed.proj.weight', 'blocks.0.attn.qkv.weight')
               if name not in state]
    if missing:
        raise CheckpointError(f'no weights of a vision transformer, {", ".join(missing)} are missing. '
                              'Expected a file of DeiT (without distillation) or YOLOS.')
    return state


def main() -> None:
    """Command line."""
    args = parse_conversion(__doc__, EPILOG)
    with torch.serialization.safe_globals([argparse.Namespace]):  # YOLOS files hold their command line
        state = convert_file(args.source, args.target, convert)
    print(f'{args.target}: {len(state)} entries of a DetectionViT')


if __name__ == '__main__':
    run_tool(main)
