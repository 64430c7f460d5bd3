"""Converts a released AdderNet classification checkpoint into a backbone for AdderResNet."""

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
The released ResNet-50 (74.9 % ImageNet top-1) is linked from the README of huawei-noah/AdderNet. Then:

  python tools/model_converters/addernet_to_mmdet.py ResNet50-AdderNet.pth checkpoints/adder_resnet50.pth
  python tools/train.py configs/adder_fcos_r50.py --cfg-options \\
      model.backbone.init_cfg.type=Pretrained model.backbone.init_cfg.checkpoint=checkpoints/adder_resnet50.pth
"""


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='checkpoint of the official code')
    parser.add_argument('target', type=Path, help='file to write')
    return parser.parse_args()


def main():
    args = parse_args()
    weights = read_weights(args.source)
    from projects.adder_fcos.addernet_checkpoints import convert_addernet
    try:
        state, depth = convert_addernet(weights)
    except ValueError as error:
        raise CheckpointError(f'{args.source}: {error}') from None
    with atomic_file(args.target) as file:
        torch.save({'meta': {'converted_from': args.source.name, 'depth': depth}, 'state_dict': state}, file)
    print(f'{args.target}: backbone of AdderResNet(depth={depth}), {len(state)} entries')


if __name__ == '__main__':
    run_tool(main)
