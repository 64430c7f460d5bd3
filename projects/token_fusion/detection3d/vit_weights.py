"""Makes a file for ``DetectionViT`` of released weights of DeiT (classifier) or YOLOS (detector).

    python -m projects.token_fusion.detection3d.vit_weights deit_tiny_patch16_224-a1311bcf.pth data/deit_tiny.pth

The new file is what ``model.image_branch.init_cfg=dict(type='Pretrained', checkpoint=...)`` expects.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch

from projects.runtime.atomic import atomic_file
from projects.runtime.checkpoint_files import read_weights
from projects.runtime.command_line import run_tool
from projects.runtime.errors import CheckpointError

OTHER = ('head', 'head_dist', 'dist_token', 'class_embed', 'bbox_embed')
"""Parts of the released models that the image branch does not have."""


def convert(weights: Mapping[str, torch.Tensor], source: str) -> dict:
    """State of a ``DetectionViT`` from a released checkpoint.

    Args:
        weights: Named tensors.
        source: Its name, for messages.

    Raises:
        CheckpointError: no vision transformer is in it.
    """
    bare = {name.removeprefix('module.').removeprefix('backbone.'): value for name, value in weights.items()}
    state = {name: value for name, value in bare.items() if name.split('.')[0] not in OTHER}
    missing = [name for name in ('cls_token', 'pos_embed', 'patch_embed.proj.weight', 'blocks.0.attn.qkv.weight')
               if name not in state]
    if missing:
        raise CheckpointError(f'{source}: no weights of a vision transformer, {", ".join(missing)} are missing. '
                              'Expected a file of DeiT (without distillation) or YOLOS.')
    return state


def main() -> None:
    """Command line, see the module's description."""
    parser = argparse.ArgumentParser(description='Convert DeiT or YOLOS weights for DetectionViT.')
    parser.add_argument('source', type=Path, help='released checkpoint')
    parser.add_argument('target', type=Path, help='file to write')
    args = parser.parse_args()
    with torch.serialization.safe_globals([argparse.Namespace]):  # YOLOS files hold their command line
        weights = read_weights(args.source)
    state = convert(weights, str(args.source))
    with atomic_file(args.target) as file:
        torch.save(dict(state_dict=state), file)
    print(f'Written: {args.target}')


if __name__ == '__main__':
    run_tool(main)
