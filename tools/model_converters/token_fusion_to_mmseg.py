"""Converts a checkpoint of the official TokenFusion segmentation code into one for TokenFusionSegmentor."""

import argparse
import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.runtime.atomic import atomic_file
from projects.runtime.checkpoint_files import read_weights
from projects.runtime.command_line import run_tool
from projects.runtime.errors import CheckpointError

EPILOG = """
The released MiT-B3 for NYUv2 is linked from the README of yikaiw/TokenFusion. Then:

  python tools/model_converters/token_fusion_to_mmseg.py model-best.pth.tar checkpoints/token_fusion_b3_nyuv2.pth
  python tools/test.py configs/token_fusion_b3_nyuv2.py checkpoints/token_fusion_b3_nyuv2.pth

Encoders that were pretrained on ImageNet (mit_bX.pth, official or mmseg's) need no conversion: model.backbone.init_cfg
reads them.
"""


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='checkpoint of the official code')
    parser.add_argument('target', type=Path, help='file to write')
    return parser.parse_args()


def main():
    args = parse_args()
    from projects.token_fusion.segmentation.checkpoints import convert_official
    weights = read_weights(args.source)
    try:
        state = convert_official(weights)
    except CheckpointError as error:
        raise CheckpointError(f'{args.source}: {error}') from None
    with atomic_file(args.target) as file:
        torch.save({'meta': {'converted_from': args.source.name}, 'state_dict': state}, file)
    print(f'{args.target}: {len(state)} entries of a TokenFusionSegmentor')


if __name__ == '__main__':
    run_tool(main)
