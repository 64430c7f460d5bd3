"""Converts the released DyFPN checkpoint (mmdet 2.3) into one for dyfpn_faster_rcnn_r50.py."""

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
DyFPN_B_CNNGate.pth is linked from the README of Mingjian-Zhu/DyFPN. Its own evaluation samples the decisions, so add
model.neck.eval_stochastic=True to repeat that:

  python tools/model_converters/dyfpn_to_mmdet.py DyFPN_B_CNNGate.pth checkpoints/dyfpn_faster_rcnn_r50.pth
  python tools/test.py configs/dyfpn_faster_rcnn_r50.py checkpoints/dyfpn_faster_rcnn_r50.pth
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
    from projects.dyfpn.released_checkpoints import convert_released
    try:
        state = convert_released(weights)
    except ValueError as error:
        raise CheckpointError(f'{args.source}: {error}') from None
    with atomic_file(args.target) as file:
        torch.save({'meta': {'converted_from': args.source.name}, 'state_dict': state}, file)
    print(f'{args.target}: {len(state)} entries, for configs/dyfpn_faster_rcnn_r50.py')


if __name__ == '__main__':
    run_tool(main)
