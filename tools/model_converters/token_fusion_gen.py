"""Turns the official generator of TokenFusion's image translation into a checkpoint for `tools/test.py`."""

import argparse
import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.runtime.atomic import atomic_file
from projects.runtime.checkpoint_files import read_weights
from projects.runtime.command_line import run_tool
from projects.token_fusion.translation.official import convert_generator

EPILOG = """
The discriminator is not converted, so testing leaves it out:

  python tools/model_converters/token_fusion_gen.py checkpoint-gen-399.pkl checkpoints/token_fusion_gen.pth
  python tools/test.py configs/token_fusion_gen_b2_shade_texture_to_rgb.py checkpoints/token_fusion_gen.pth \\
      --cfg-options model.discriminator=None test_evaluator.0.features.path=inception-2015-12-05.pt
"""


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path, help='official weights: a state_dict, or a dict that holds one')
    parser.add_argument('out', type=Path, help='checkpoint to write')
    args = parser.parse_args(argv)
    converted = convert_generator(read_weights(args.checkpoint))
    with atomic_file(args.out) as file:
        torch.save(dict(meta=dict(converted_from=args.checkpoint.name),
                        state_dict={f'generator.{name}': value for name, value in converted.items()}), file)
    print(f'{len(converted)} entries of the generator are in {args.out}')


if __name__ == '__main__':
    run_tool(main)
