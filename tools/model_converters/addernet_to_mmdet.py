"""Converts a released AdderNet classification checkpoint into a backbone for AdderResNet."""

import argparse
import os
import tempfile
from pathlib import Path

import torch

EPILOG = """
The released ResNet-50 (74.9 % ImageNet top-1) is linked from the README of huawei-noah/AdderNet. Then:

  python tools/model_converters/addernet_to_mmdet.py ResNet50-AdderNet.pth checkpoints/adder_resnet50.pth
  python tools/train.py configs/adder_fcos_r50.py --cfg-options \\
      model.backbone.init_cfg.type=Pretrained model.backbone.init_cfg.checkpoint=checkpoints/adder_resnet50.pth
"""


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='checkpoint of the official code')
    parser.add_argument('target', type=Path, help='file to write')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    from projects.adder_fcos.addernet_checkpoints import convert_addernet
    from projects.runtime import load_checkpoint_file
    checkpoint = load_checkpoint_file(args.source)
    try:
        state, depth = convert_addernet(checkpoint.get('state_dict', checkpoint))
    except ValueError as error:
        raise SystemExit(f'{args.source}: {error}') from None
    args.target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=args.target.parent, delete=False) as file:
        torch.save({'meta': {'converted_from': args.source.name, 'depth': depth}, 'state_dict': state}, file)
    os.replace(file.name, args.target)
    print(f'{args.target}: backbone of AdderResNet(depth={depth}), {len(state)} entries')


if __name__ == '__main__':
    main()
