"""Converts a released AdderNet classification checkpoint into a backbone for AdderResNet."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.runtime.command_line import run_tool
from projects.runtime.conversion import convert_file, parse_conversion

EPILOG = """
The released ResNet-50 (74.9 % ImageNet top-1) is linked from the README of huawei-noah/AdderNet. Then:

  python tools/model_converters/addernet_to_mmdet.py ResNet50-AdderNet.pth checkpoints/adder_resnet50.pth
  python tools/train.py configs/adder_fcos_r50.py --cfg-options \\
      model.backbone.init_cfg.type=Pretrained model.backbone.init_cfg.checkpoint=checkpoints/adder_resnet50.pth
"""


def main():
    args = parse_conversion(__doc__, EPILOG)
    from projects.adder_fcos.addernet_checkpoints import convert_addernet
    meta = {}

    def convert(weights):
        state, meta['depth'] = convert_addernet(weights)
        return state

    state = convert_file(args.source, args.target, convert, meta)
    print(f'{args.target}: backbone of AdderResNet(depth={meta["depth"]}), {len(state)} entries')


if __name__ == '__main__':
    run_tool(main)
