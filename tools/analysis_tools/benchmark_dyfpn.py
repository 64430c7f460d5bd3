"""Times the necks of arXiv 2012.00779 in one run on the CPU: FPN, static inception FPN, and DyFPN (structure B) with
all gates open, about half of the cost open, and all closed; with separate and with merged branches. The gates are
computed and counted; only their last layer is set so that they decide what a row says."""

import argparse
import copy
import json
import statistics
import sys
import time
from pathlib import Path

import torch
from mmdet.models.necks import FPN
from tqdm import tqdm

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.dyfpn import DyFPN, InceptionFPN
from projects.runtime.atomic import write_atomic

CHANNELS = (256, 512, 1024, 2048)
OPEN = {'all open': (0, 1, 2, 3), 'C2 open': (0,), 'C3, C4, C5 open': (1, 2, 3), 'all closed': ()}
LIMITS = {'all closed': 0.15, 'C2 open': 0.65}
"""What these rows may take of the time of the static inception FPN, both unmerged."""


def set_open(neck, levels):
    """Make the gates of `neck` open at `levels`, whatever the image."""
    for i, level in enumerate(neck.gates.levels):
        level[-1].weight.data.zero_()
        level[-1].bias.data = torch.tensor([0.0, 1.0 if i in levels else -1.0])
    return neck


def necks(channels, width):
    """Name to (neck, open levels or None); all share the weights of one DyFPN."""
    torch.manual_seed(0)
    dynamic = DyFPN(list(channels), width, 5, loss_flops=None).eval()
    plain, static = FPN(list(channels), width, 5).eval(), InceptionFPN(list(channels), width, 5).eval()
    for i, lateral in enumerate(dynamic.lateral_convs):
        plain.lateral_convs[i] = lateral.skip
        static.lateral_convs[i].branches = lateral.branches
    plain.fpn_convs = static.fpn_convs = dynamic.fpn_convs
    merged, static_merged = (copy.deepcopy(neck).switch_to_deploy() for neck in (dynamic, static))
    return {'FPN': (plain, None), 'inception FPN': (static, None),
            **{f'DyFPN, {name}': (dynamic, levels) for name, levels in OPEN.items()},
            'inception FPN, merged': (static_merged, None),
            **{f'DyFPN, {name}, merged': (merged, levels) for name, levels in OPEN.items() if levels}}


def open_share(neck, levels, maps):
    """Part of the bank's multiply-adds that is computed."""
    costs = [cost for _, cost in neck.choice_costs([tuple(x.shape[2:]) for x in maps])]
    return sum(costs[i] for i in levels) / sum(costs)


@torch.inference_mode()
def measure(variants, maps, repeats):
    """Median seconds of each neck; the necks take turns, so that a slow moment meets them all."""
    times = {name: [] for name in variants}
    with tqdm(total=repeats * len(variants), leave=False) as progress:
        for _ in range(repeats):
            for name, (neck, levels) in variants.items():
                if levels is not None:
                    set_open(neck, levels)
                begin = time.perf_counter()
                neck(maps)
                times[name].append(time.perf_counter() - begin)
                progress.update()
    return {name: statistics.median(values) for name, values in times.items()}


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--size', type=int, nargs=2, default=(800, 1333), metavar=('HEIGHT', 'WIDTH'),
                        help='of the image, padded to multiples of 32 as detectors do (default: 800 1333)')
    parser.add_argument('--channels', type=int, nargs=4, default=CHANNELS, help='of C2 to C5 (default: those of R-50)')
    parser.add_argument('--width', type=int, default=256, help='channels of the pyramid (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=3, help='runs a figure is the median of (default: %(default)s)')
    parser.add_argument('--json', metavar='FILE', help='write the figures there as well')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    height, width = (-(-side // 32) * 32 for side in args.size)
    maps = [torch.randn(1, c, height // stride, width // stride)
            for c, stride in zip(args.channels, (4, 8, 16, 32), strict=True)]
    variants = necks(args.channels, args.width)
    measure(variants, [x[..., :8, :8] for x in maps], 1)  # warms up threads and memory, not the clock
    times = measure(variants, maps, args.repeats)
    rows = [dict(neck=name, ms=1e3 * seconds, ratio=seconds / times['inception FPN'],
                 open_cost=None if variants[name][1] is None else open_share(*variants[name], maps))
            for name, seconds in times.items()]
    print(f'{height}x{width}, batch 1, {args.threads} threads, torch {torch.__version__}; medians of {args.repeats}')
    print(f'{"neck":32}{"ms":>10}{"of inception":>14}{"open cost":>11}')
    for row in rows:
        share = '' if row['open_cost'] is None else f'{row["open_cost"]:.2f}'
        print(f'{row["neck"]:32}{row["ms"]:10.1f}{row["ratio"]:14.3f}{share:>11}')
    for name, limit in LIMITS.items():
        found = times[f'DyFPN, {name}'] / times['inception FPN']
        print(f'{name}: {found:.3f} of the inception FPN, {"at most" if found <= limit else "ABOVE"} {limit}')
    if args.json:
        write_atomic(args.json, json.dumps(dict(size=[height, width], threads=args.threads, repeats=args.repeats,
                                                limits=LIMITS, rows=rows), indent=1))


if __name__ == '__main__':
    main()
