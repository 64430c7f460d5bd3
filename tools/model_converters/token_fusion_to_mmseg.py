"""Converts a checkpoint of the official TokenFusion segmentation code into one for TokenFusionSegmentor."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.runtime.command_line import run_tool
from projects.runtime.conversion import convert_file, parse_conversion

EPILOG = """
The released MiT-B3 for NYUv2 is linked from the README of yikaiw/TokenFusion. Then:

  python tools/model_converters/token_fusion_to_mmseg.py model-best.pth.tar checkpoints/token_fusion_b3_nyuv2.pth
  python tools/test.py configs/token_fusion_b3_nyuv2.py checkpoints/token_fusion_b3_nyuv2.pth

Encoders that were pretrained on ImageNet (mit_bX.pth, official or mmseg's) need no conversion: model.backbone.init_cfg
reads them.
"""


def main():
    args = parse_conversion(__doc__, EPILOG)
    from projects.token_fusion.segmentation.checkpoints import convert_official
    state = convert_file(args.source, args.target, convert_official)
    print(f'{args.target}: {len(state)} entries of a TokenFusionSegmentor')


if __name__ == '__main__':
    run_tool(main)
