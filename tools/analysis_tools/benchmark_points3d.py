"""Times the 3D operators of projects/points3d on made-up scenes: a sub-manifold convolution, the sparse U-Net of
PointGroup (arXiv 2004.01658), and the clustering of votes. No data set is needed."""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch
from tqdm import tqdm

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.points3d import SparseTensor, SparseUNet, SubMConv3d, connected_components
from projects.runtime.atomic import write_atomic

EPILOG = """\
rows:
  subm CxC        3x3x3 sub-manifold convolution, C to C channels; its rulebook is built once and not counted
  rulebook        neighbour table of that convolution, built at the first layer of each level
  unet            SparseUNet of so many levels, widths m, 2m, 3m, ...: evaluation without gradients, and a training step
                  (forward, backward, SGD); all rulebooks counted
  components      connected_components at 0.03 m of votes for 25 objects in a room of 6 x 5 x 2 m, by vote noise and
                  number of points

Wall time is what a user waits for; on a shared machine compare CPU time, which other processes disturb less, and the
smallest of several runs.

examples:
  python tools/analysis_tools/benchmark_points3d.py                       everything, one thread; about two minutes
  python tools/analysis_tools/benchmark_points3d.py --parts components    the clustering alone
  python tools/analysis_tools/benchmark_points3d.py --parts unet --voxels 10000 --m 32 --repeats 3
  python tools/analysis_tools/benchmark_points3d.py --device cuda --json work_dirs/points3d_gpu.json
"""
PARTS = ('subm', 'unet', 'components')
LIMITS = {'unet forward': 0.6, 'unet training step': 1.5}
"""Seconds that these rows may take with the default sizes on one CPU core; CPU time is compared."""
COMPONENTS_LIMIT = 0.4
GROWTH_LIMIT = 10
"""How many times 50,000 points' time 400,000 points may take."""


def room(count, seed=0):
    """About `count` voxels of 2 cm, (N, 3), of the surfaces of a room with boxes, and the room's shape."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=generator)

    def surface(low, size, points):
        """Points on the faces of a box, evenly by area."""
        faces = torch.stack([size[[1, 2]].prod(), size[[0, 2]].prod(), size[[0, 1]].prod()])
        axis = torch.multinomial(faces, points, replacement=True, generator=generator)
        place = rand(points, 3)
        place[torch.arange(points), axis] = (rand(points) < 0.5).float()
        return low + place * size

    scale = count / 50_000  # of the floor, so that all sizes are equally dense
    size = torch.tensor([5.0 * scale ** 0.5, 4.0 * scale ** 0.5, 2.6])
    parts = [surface(torch.zeros(3), size, 8 * count)]
    for _ in range(max(1, round(14 * scale))):
        parts.append(surface(rand(3) * size * 0.8, 0.2 + rand(3) * torch.tensor([1.0, 1.0, 0.8]), 100_000))
    points = torch.cat(parts)
    points += 0.006 * torch.randn(points.shape, generator=generator)
    cells = ((points - points.amin(0)) / 0.02).long()
    size = (cells.amax(0) + 1).tolist()
    keys = ((cells[:, 0] * size[1] + cells[:, 1]) * size[2] + cells[:, 2]).unique()[:count]  # cuts the room across x
    voxels = torch.stack(torch.unravel_index(keys, size), 1)
    return voxels, torch.maximum(voxels.amax(0) + 1, torch.tensor(128)).tolist()


def votes(count, noise, seed=0):
    """Points that vote for the centres of 25 objects with Gaussian errors of `noise` metres, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(25, 3, generator=generator) * torch.tensor([6.0, 5.0, 2.0])
    labels = torch.randint(2, 20, (25,), generator=generator)
    owner = torch.arange(count) % 25
    return centres[owner] + noise * torch.randn(count, 3, generator=generator), labels[owner]


def measure(function, repeats, device):
    """Median and smallest wall seconds, and smallest CPU seconds, after one call to warm up."""
    wait = torch.cuda.synchronize if device.type == 'cuda' else lambda: None
    function()
    wall, cpu = [], []
    for _ in range(repeats):
        wait()
        begin, cpu_begin = time.perf_counter(), time.process_time()
        function()
        wait()
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - cpu_begin)
    return dict(median_s=statistics.median(wall), min_s=min(wall), min_cpu_s=min(cpu))


def convolution_rows(args, device):
    """Name to function: convolutions of three widths, forward and with backward, and the rulebook."""
    voxels, shape = room(args.voxels)
    indices = torch.cat([torch.zeros(len(voxels), 1, dtype=torch.long), voxels], 1)
    given = SparseTensor(torch.randn(len(voxels), 1, device=device), indices, shape, 1)
    rows = {}
    for channels in (args.m, 2 * args.m):
        layer = SubMConv3d(channels, channels, 3, padding=1, bias=False, indice_key='subm').to(device)
        features = torch.randn(len(voxels), channels, device=device)

        def forward(layer=layer, features=features):
            with torch.no_grad():
                layer(given.replace_feature(features))

        def both(layer=layer, features=features):
            layer(given.replace_feature(features.detach().requires_grad_())).features.sum().backward()
        rows[f'subm {channels}x{channels} forward'] = forward
        rows[f'subm {channels}x{channels} forward + backward'] = both
    thin = SubMConv3d(1, 1, 3, padding=1, bias=False, indice_key='subm').to(device)
    rows['rulebook (and a 1x1-channel convolution)'] = lambda: thin(
        SparseTensor(given.features, given.indices, shape, 1))
    return rows


def unet_rows(args, device):
    """Name to function: the U-Net's evaluation and training step."""
    voxels, shape = room(args.voxels)
    indices = torch.cat([torch.zeros(len(voxels), 1, dtype=torch.long), voxels], 1).to(device)
    features = torch.randn(len(voxels), 6, device=device)
    net = SparseUNet(6, [args.m * level for level in range(1, args.levels + 1)]).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)

    def forward():
        with torch.no_grad():
            net.eval()(SparseTensor(features, indices, shape, 1))

    def step():
        optimizer.zero_grad()
        net.train()(SparseTensor(features, indices, shape, 1)).features.square().mean().backward()
        optimizer.step()
    return {'unet forward': forward, 'unet training step': step}


def component_rows(args, device):
    """Name to function: the clustering, by noise and size."""
    rows = {}
    for noise in args.noise:
        for count in args.points:
            points, labels = (x.to(device) for x in votes(count, noise))
            rows[f'components {100 * noise:g} cm {count}'] = (
                lambda points=points, labels=labels: connected_components(points, 0.03, labels=labels))
    return rows


def verdicts(times, args):
    """Sentences that compare CPU seconds with what was asked of one core."""
    found = []
    if (args.m, args.levels, args.voxels) == (16, 7, 50_000):
        found += [(f'{name}: {times[name]["min_cpu_s"]:.2f} s', times[name]['min_cpu_s'], limit, 's')
                  for name, limit in LIMITS.items() if name in times]
    for noise in args.noise:
        small, middle, large = (times.get(f'components {100 * noise:g} cm {count}', {}).get('min_cpu_s')
                                for count in (50_000, 100_000, 400_000))
        if middle:
            found.append((f'components {100 * noise:g} cm, 100,000 points: {middle:.3f} s', middle, COMPONENTS_LIMIT,
                          's'))
        if small and large:
            found.append((f'components {100 * noise:g} cm, 50,000 to 400,000 points: {large / small:.1f} times',
                          large / small, GROWTH_LIMIT, 'times'))
    return [f'{text}, {"at most" if value <= limit else "ABOVE"} {limit} {unit}' for text, value, limit, unit in found]


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS, help='what to measure (default: all)')
    parser.add_argument('--voxels', type=int, default=50_000, help='of the room (default: %(default)s)')
    parser.add_argument('--m', type=int, default=16, help='width of the first level (default: %(default)s)')
    parser.add_argument('--levels', type=int, default=7, help='of the U-Net (default: %(default)s)')
    parser.add_argument('--points', type=int, nargs='+', default=(50_000, 100_000, 200_000, 400_000), metavar='N',
                        help='numbers of votes (default: 50000 100000 200000 400000)')
    parser.add_argument('--noise', type=float, nargs='+', default=(0.01, 0.03, 0.06), metavar='METRES',
                        help='of the votes (default: 0.01 0.03 0.06)')
    parser.add_argument('--threads', type=int, default=1, help='of torch (default: %(default)s)')
    parser.add_argument('--device', default='cpu', help='cpu or cuda; the clustering runs on the CPU in any case')
    parser.add_argument('--repeats', type=int, default=5, help='calls a figure is the median of (default: %(default)s)')
    parser.add_argument('--json', metavar='FILE', help='write the figures there as well')
    args = parser.parse_args(argv)
    if min(args.voxels, args.m, args.levels, args.threads, args.repeats, *args.points) < 1 or min(args.noise) < 0:
        parser.error('--voxels, --m, --levels, --points, --threads and --repeats must be positive, --noise at least 0')
    return args


def main(argv=None):
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = torch.device(args.device)
    makers = dict(subm=convolution_rows, unet=unet_rows, components=component_rows)
    times = {}
    with tqdm(total=len(args.parts), leave=False, disable=None) as progress:
        for part in args.parts:
            for name, function in makers[part](args, device).items():
                progress.set_description(name)
                times[name] = measure(function, args.repeats, device)
            progress.update()
    place = torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'
    print(f'{place}, {args.threads} thread(s), torch {torch.__version__}, {args.voxels} voxels, {args.repeats} calls')
    print(f'{"":44}{"median ms":>11}{"least ms":>11}{"least CPU ms":>14}')
    for name, row in times.items():
        print(f'{name:44}{1e3 * row["median_s"]:11.1f}{1e3 * row["min_s"]:11.1f}{1e3 * row["min_cpu_s"]:14.1f}')
    sentences = verdicts(times, args) if device.type == 'cpu' and args.threads == 1 else []
    print('\n'.join(sentences))
    if args.json:
        write_atomic(args.json, json.dumps(dict(device=place, threads=args.threads, voxels=args.voxels, m=args.m,
                                                levels=args.levels, repeats=args.repeats, rows=times,
                                                verdicts=sentences), indent=1))


if __name__ == '__main__':
    main()
