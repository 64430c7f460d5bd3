"""Converts the released DyFPN checkpoint (mmdet 2.3) into one for dyfpn_faster_rcnn_r50.py."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.runtime.command_line import run_tool
from projects.runtime.conversion import convert_file, parse_conversion

EPILOG = """
DyFPN_B_CNNGate.pth is linked from the README of Mingjian-Zhu/DyFPN. Its own evaluation samples the decisions, so add
model.neck.eval_stochastic=True to repeat that:

  python tools/model_converters/dyfpn_to_mmdet.py DyFPN_B_CNNGate.pth checkpoints/dyfpn_faster_rcnn_r50.pth
  python tools/test.py configs/dyfpn_faster_rcnn_r50.py checkpoints/dyfpn_faster_rcnn_r50.pth
"""


def main():
    args = parse_conversion(__doc__, EPILOG)
    from projects.dyfpn.released_checkpoints import convert_released
    state = convert_file(args.source, args.target, convert_released)
    print(f'{args.target}: {len(state)} entries, for configs/dyfpn_faster_rcnn_r50.py')


if __name__ == '__main__':
    run_tool(main)
