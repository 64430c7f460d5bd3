"""Times hierarchical point grouping (arXiv 2203.14662) on drawn votes, in seconds of one CPU core.

A scene has 25 objects of equal size; each point votes for its object's centre with normal noise of some centimetres.
1 cm is a well trained model: thousands of points within a radius of each other. 6 cm is a poor one: thousands of
groups at the first level. Only foreground points are drawn; a real scene has as many again on walls and floor.

    python tools/analysis_tools/benchmark_grouping.py
    python tools/analysis_tools/benchmark_grouping.py --points 100000 --noise 3 --radii 0.03  # one level: PointGroup
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch
from mmengine.registry import init_default_scope

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.point_grouping import HierarchicalPointGrouping
from projects.points3d import connected_components
from projects.runtime.atomic import write_atomic

OBJECTS, CLASSES = 25, 18
LIMIT, GROWTH = 0.6, 10.
"""Seconds for 100,000 points, and how many times longer 400,000 points may take than 50,000."""


def votes(count, noise, seed=0):
    """Shifted points (count, 3) and their classes (count,), in random order.

    Args:
        count (int): points.
        noise (float): standard deviation along each axis, metres.
    """
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(OBJECTS, 3, generator=generator) * torch.tensor([6., 6., 2.])
    classes = torch.randint(2, 2 + CLASSES, (OBJECTS,), generator=generator)
    owner = torch.randint(OBJECTS, (count,), generator=generator)
    return centres[owner] + noise * torch.randn(count, 3, generator=generator), classes[owner]


def measure(grouping, points, labels, repeats):
    """Median CPU seconds of a grouping, and its candidates."""
    seconds, offsets = [], torch.zeros_like(points)
    for _ in range(repeats):
        begin = time.process_time()
        proposals = grouping(points, offsets, labels)
        seconds.append(time.process_time() - begin)
    return statistics.median(seconds), proposals


def groups_by_level(grouping, points, labels):
    """Groups of every size at each level."""
    single = HierarchicalPointGrouping(grouping.radii, 1, merge_on=grouping.merge_on, dedup=False)
    return torch.bincount(single.eval()(points, torch.zeros_like(points), labels).levels).tolist()


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--points', type=int, nargs='+', default=[50_000, 100_000, 200_000, 400_000],
                        help='foreground points (default: %(default)s)')
    parser.add_argument('--noise', type=float, nargs='+', default=[1., 3., 6.],
                        help='standard deviation of the votes along each axis, in cm (default: %(default)s)')
    parser.add_argument('--radii', type=float, nargs='+', default=[.03, .1, .3],
                        help='radii in metres, one for each level (default: %(default)s)')
    parser.add_argument('--merge-on', choices=('centroid', 'points'), default='centroid',
                        help='what levels above the first link (default: %(default)s)')
    parser.add_argument('--repeats', type=int, default=3, help='runs a figure is the median of (default: %(default)s)')
    parser.add_argument('--json', metavar='FILE', help='write the figures there as well')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    torch.set_num_threads(1)
    init_default_scope('mmdet3d')
    grouping = HierarchicalPointGrouping(args.radii, merge_on=args.merge_on).eval()
    connected_components(votes(1000, .01)[0], .03)  # loads what a first call loads
    rows = []
    print(f'{"points":>8}{"noise, cm":>11}{"CPU s":>8}{"candidates":>12}  groups at each level')
    for noise in args.noise:
        for count in args.points:
            points, labels = votes(count, noise / 100)
            seconds, proposals = measure(grouping, points, labels, args.repeats)
            levels = groups_by_level(grouping, points, labels)
            rows.append(dict(points=count, noise_cm=noise, cpu_seconds=seconds, candidates=len(proposals),
                             groups=levels))
            print(f'{count:8d}{noise:11g}{seconds:8.2f}{len(proposals):12d}  {levels}', flush=True)
    for noise in args.noise:
        found = {row['points']: row['cpu_seconds'] for row in rows if row['noise_cm'] == noise}
        if 100_000 in found:
            verdict = 'at most' if found[100_000] <= LIMIT else 'ABOVE'
            print(f'noise {noise:g} cm, 100,000 points: {found[100_000]:.2f} s, {verdict} {LIMIT} s')
        if {50_000, 400_000} <= found.keys():
            growth = found[400_000] / found[50_000]
            verdict = 'at most' if growth <= GROWTH else 'ABOVE'
            print(f'noise {noise:g} cm, 50,000 to 400,000 points: {growth:.1f} times, {verdict} {GROWTH:g}')
    if args.json:
        write_atomic(args.json, json.dumps(dict(radii=args.radii, merge_on=args.merge_on, repeats=args.repeats,
                                                limit_seconds=LIMIT, limit_growth=GROWTH, rows=rows), indent=1))


if __name__ == '__main__':
    main()
