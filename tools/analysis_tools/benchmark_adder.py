"""Times adder layers beside convolutions of the same shape, forward and forward + backward, in one run."""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.adder import adder2d, native

# (images, channels, height, width, output channels, window, stride)
SHAPES = {
    'ResNet-50 stage 1, 3x3': (2, 64, 56, 56, 64, 3, 1),
    'ResNet-50 stage 2, 3x3 at 800x1333': (1, 128, 100, 167, 128, 3, 1),
    'ResNet-50 stage 3, 3x3 at 800x1333': (1, 256, 50, 84, 256, 3, 1),
    'ResNet-50 stage 4, 3x3 at 800x1333': (1, 512, 25, 42, 512, 3, 1),
    'ResNet-50 stage 3, 1x1 at 800x1333': (1, 1024, 50, 84, 256, 1, 1),
    'projection, 1x1 stride 2': (1, 512, 100, 167, 1024, 1, 2),
}


def operators():
    """Name to function (input, weight, stride, padding) -> output."""
    found = {'conv2d': lambda x, w, s, p: F.conv2d(x, w, None, s, p)}
    if native.available():
        found['adder, compiled'] = lambda x, w, s, p: adder2d(x, w, None, s, p, backend='native')
        found['adder, compiled, sign'] = lambda x, w, s, p: adder2d(x, w, None, s, p, grad_input='sign',
                                                                    backend='native')
    found['adder, reference'] = lambda x, w, s, p: adder2d(x, w, None, s, p, backend='reference')
    return found


def median_ms(function, repeats, seconds):
    """Median time in ms of up to ``repeats`` calls, or of those that fit into ``seconds`` (at least 3)."""
    function()
    times, start = [], time.perf_counter()
    while len(times) < 3 or (len(times) < repeats and time.perf_counter() - start < seconds):
        begin = time.perf_counter()
        function()
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times)


def measure(operator, shape, repeats, seconds):
    """(forward, forward + backward) in ms."""
    n, c, h, w, t, k, s = shape
    torch.manual_seed(0)
    x, weight = torch.randn(n, c, h, w), torch.randn(t, c, k, k)
    with torch.no_grad():
        grad = torch.randn_like(operator(x, weight, s, k // 2))
        forward = median_ms(lambda: operator(x, weight, s, k // 2), repeats, seconds)
    x.requires_grad_(), weight.requires_grad_()

    def step():
        x.grad = weight.grad = None
        operator(x, weight, s, k // 2).backward(grad)

    return forward, median_ms(step, repeats, seconds)


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=20, help='runs a figure is the median of')
    parser.add_argument('--seconds', type=float, default=5, help='stop repeating an operation after this long')
    parser.add_argument('--json', metavar='FILE', help='write the figures there as well')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    rows = []
    for name, shape in tqdm(SHAPES.items(), desc='shapes', leave=False):
        for operator, function in operators().items():
            forward, both = measure(function, shape, args.repeats, args.seconds)
            rows.append(dict(layer=name, shape=shape, operator=operator, forward_ms=forward, both_ms=both))
    isa = native._native.isa() if native.available() else 'not built'
    print(f'{args.threads} threads, compiled kernels: {isa}; ms, and the ratio to conv2d')
    print(f'{"layer":38}{"operator":24}{"forward":>9}{"ratio":>7}{"fwd+bwd":>10}{"ratio":>7}')
    for row in rows:
        base = next(r for r in rows if r['layer'] == row['layer'] and r['operator'] == 'conv2d')
        print(f'{row["layer"]:38}{row["operator"]:24}{row["forward_ms"]:9.2f}'
              f'{row["forward_ms"] / base["forward_ms"]:7.2f}{row["both_ms"]:10.2f}'
              f'{row["both_ms"] / base["both_ms"]:7.2f}')
    if args.json:
        with open(args.json, 'w', encoding='utf-8') as file:
            json.dump(dict(threads=args.threads, isa=isa, rows=rows), file, indent=1)


if __name__ == '__main__':
    main()
