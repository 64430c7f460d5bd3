"""Turns the official generator of TokenFusion's image translation into a checkpoint for `tools/test.py`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.runtime.command_line import run_tool
from projects.runtime.conversion import convert_file, parse_conversion

EPILOG = """
The discriminator is not converted, so testing leaves it out:

  python tools/model_converters/token_fusion_gen.py checkpoint-gen-399.pkl checkpoints/token_fusion_gen.pth
  python tools/test.py configs/token_fusion_gen_b2_shade_texture_to_rgb.py checkpoints/token_fusion_gen.pth \\
      --cfg-options model.discriminator=None test_evaluator.0.features.path=inception-2015-12-05.pt
"""


def main():
    args = parse_conversion(__doc__, EPILOG)
    from projects.token_fusion.translation.official import convert_generator

    def convert(weights):
        return {f'generator.{name}': value for name, value in convert_generator(weights).items()}

    state = convert_file(args.source, args.target, convert)
    print(f'{args.target}: {len(state)} entries of a TokenFusionGenerator')


if __name__ == '__main__':
    run_tool(main)
