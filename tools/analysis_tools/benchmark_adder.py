"""Times adder layers, and whole detectors, beside convolutions of the same shape, in one run.

Operators: conv2d; adder (compiled kernels, or Triton on a GPU, with the HardTanh or the sign rule for the input
gradient); int8 (QuantAdder2d, inference only); cdist (torch.cdist with p=1 on unfolded columns, gradient by
autograd); reference (plain torch). The figures of one layer are taken in turns, one call each, so that a machine that
slows down slows all of them down; a figure is the median.
"""

import argparse
import ctypes
import gc
import json
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

sys.path.append(str(Path(__file__).resolve().parents[2]))
sys.path.append(str(Path(__file__).resolve().parent))

from adder_workloads import detector_steps, detectors, shape_sets

from projects.adder import Adder2d, adder2d, native
from projects.adder.quantization import ActivationRange, quantize_layer
from projects.runtime.atomic import atomic_file

BASE = 'conv2d'
SLOW = ('cdist', 'reference')
EPILOG = """
  make bench                                                     layers of every set
  python tools/analysis_tools/benchmark_adder.py --sets published          a few seconds
  python tools/analysis_tools/benchmark_adder.py --sets --models           whole detectors, about 10 minutes
  python tools/analysis_tools/benchmark_adder.py --device cuda --json gpu.json --png gpu.png
"""


def cdist_route(x, weight, stride, padding):
    """-cdist(columns, filters): exact l1 derivative by autograd, as in an early revision of the official code."""
    columns = F.unfold(x, weight.shape[2:], 1, padding, stride).transpose(1, 2)
    distance = torch.cdist(columns, weight.flatten(1)[None], p=1.0)
    rows = (x.shape[2] + 2 * padding - weight.shape[2]) // stride + 1
    return -distance.transpose(1, 2).unflatten(2, (rows, -1))


def operators(device):
    """Name to function (x, weight, stride, padding) -> output, of those that can be trained through."""
    fast = 'triton' if device == 'cuda' else 'native'
    found = {BASE: lambda x, w, s, p: F.conv2d(x, w, None, s, p)}
    if device == 'cuda' or native.available():
        for name, rule in (('adder', 'hardtanh'), ('adder, sign', 'sign')):
            found[name] = lambda x, w, s, p, rule=rule: adder2d(x, w, None, s, p, grad_input=rule, backend=fast)
    found['cdist'] = cdist_route
    found['reference'] = lambda x, w, s, p: adder2d(x, w, None, s, p, backend='reference')
    return found


def integer_layer(shape, x, weight):
    """The forward of an integer layer of these filters, as a function without arguments."""
    layer = Adder2d(shape.channels, shape.filters, shape.window, shape.stride, shape.padding, bias=False)
    layer.weight.data = weight.detach()
    seen = ActivationRange()
    seen.update(x)
    quant = quantize_layer(layer, seen, 'shared')
    return torch.no_grad()(lambda: quant(x))


def synchronise(device):
    if device == 'cuda':
        torch.cuda.synchronize()


def medians(functions, repeats, device, progress):
    """Median milliseconds of each function, called in turns after one warm-up call each."""
    times = {name: [] for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            synchronise(device)
            begin = time.perf_counter()
            function()
            synchronise(device)
            if turn:
                times[name].append((time.perf_counter() - begin) * 1e3)
        progress.set_postfix_str(f'{turn}/{repeats}')
    return {name: statistics.median(values) for name, values in times.items()}


def _status(key):
    with open('/proc/self/status', encoding='ascii') as file:
        return int(next(line for line in file if line.startswith(key)).split()[1]) / 1024


def peak_memory(function, device):
    """MiB that a call needs at its highest beyond what was there before; None where the system does not tell."""
    gc.collect()
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return (torch.cuda.max_memory_allocated() - before) / 2 ** 20
    if not sys.platform.startswith('linux'):
        return None
    ctypes.CDLL(None).malloc_trim(0)  # memory that was freed is not to be taken for free
    with open('/proc/self/clear_refs', 'w', encoding='ascii') as file:
        file.write('5')  # the high-water mark starts anew
    before = _status('VmRSS')
    function()
    return _status('VmHWM') - before


def layer_functions(shape, device):
    """({operator: forward}, {operator: forward and backward}) on the same random tensors."""
    torch.manual_seed(0)
    x = torch.randn(shape.images, shape.channels, shape.height, shape.width, device=device)
    weight = torch.randn(shape.filters, shape.channels, shape.window, shape.window, device=device)
    leaf_x, leaf_weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    grad = torch.randn_like(operators(device)[BASE](x, weight, shape.stride, shape.padding))

    @torch.no_grad()
    def evaluate(operator):
        operator(x, weight, shape.stride, shape.padding)

    def train(operator):
        leaf_x.grad = leaf_weight.grad = None
        operator(leaf_x, leaf_weight, shape.stride, shape.padding).backward(grad)

    forward = {name: partial(evaluate, operator) for name, operator in operators(device).items()}
    both = {name: partial(train, operator) for name, operator in operators(device).items()}
    if device == 'cpu' and native.available():
        forward['int8'] = integer_layer(shape, x, weight)
    return forward, both


def measure_layer(shape, args, progress):
    """One row per operator."""
    forward, both = layer_functions(shape, args.device)
    figures = {}
    for kind, functions in (('forward_ms', forward), ('both_ms', both)):
        fast = {name: f for name, f in functions.items() if name not in SLOW}
        figures[kind] = medians(fast, args.repeats, args.device, progress)
        if args.slow_repeats:
            slow = {name: f for name, f in functions.items() if name in SLOW}
            figures[kind] |= medians(slow, args.slow_repeats, args.device, progress)
    measured = figures['forward_ms']
    return [dict(layer=str(shape), macs=shape.macs, count=shape.count, operator=name,
                 forward_ms=measured[name], both_ms=figures['both_ms'].get(name),
                 peak_mib=peak_memory(both.get(name, forward[name]), args.device)) for name in measured]


def measure_models(args, progress):
    """Rows of whole detectors; a training step counts as `both`."""
    models, image = detectors()
    steps = {name: detector_steps(model.to(args.device), image.to(args.device)) for name, model in models.items()}
    inference = medians({name: step[0] for name, step in steps.items()}, args.repeats, args.device, progress)
    training = medians({name: step[1] for name, step in steps.items() if step[1]}, max(1, args.repeats // 4),
                       args.device, progress)
    names = list(models)
    return [dict(layer='FCOS R-50, 1x3x800x1344', count=1, operator=BASE if name == names[0] else name,
                 forward_ms=inference[name], both_ms=training.get(name),
                 peak_mib=peak_memory(steps[name][1] or steps[name][0], args.device)) for name in names]


def add_ratios(rows):
    """Adds `*_ratio`, figures over those of conv2d on the same layer."""
    for row in rows:
        base = next(r for r in rows if r['set'] == row['set'] and r['layer'] == row['layer'] and r['operator'] == BASE)
        for key in ('forward', 'both', 'peak'):
            unit = '_mib' if key == 'peak' else '_ms'
            own, other = row[key + unit], base[key + unit]
            comparable = own is not None and other and not (key == 'peak' and row['both_ms'] is None)
            row[key + '_ratio'] = own / other if comparable else None


def geometric_means(rows):
    """{(set, operator): {key: geometric mean of the ratios}} over distinct layers."""
    means = {}
    for place in dict.fromkeys((row['set'], row['operator']) for row in rows):
        chosen = [row for row in rows if (row['set'], row['operator']) == place]
        means[place] = {}
        for key in ('forward_ratio', 'both_ratio', 'peak_ratio'):
            values = [row[key] for row in chosen if row[key]]
            means[place][key] = statistics.geometric_mean(values) if values else None
    return means


def _cell(value, width, digits=2):
    return f'{"-" if value is None else format(value, f".{digits}f"):>{width}}'


def print_table(rows):
    head = f'{"operator":28}{"forward ms":>11}{"ratio":>7}{"fwd+bwd ms":>12}{"ratio":>7}{"peak MiB":>10}{"ratio":>7}'
    for name in dict.fromkeys(row['set'] for row in rows):
        chosen = [row for row in rows if row['set'] == name]
        for layer in dict.fromkeys(row['layer'] for row in chosen):
            print(f'\n{name}: {layer}\n{head}')
            for row in (row for row in chosen if row['layer'] == layer):
                print(f'{row["operator"]:28}{_cell(row["forward_ms"], 11)}{_cell(row["forward_ratio"], 7)}'
                      f'{_cell(row["both_ms"], 12)}{_cell(row["both_ratio"], 7)}{_cell(row["peak_mib"], 10, 1)}'
                      f'{_cell(row["peak_ratio"], 7)}')
    print('\nGeometric means of the ratios to conv2d')
    print(f'{"set":20}{"operator":28}{"forward":>9}{"fwd+bwd":>9}{"peak":>9}')
    for (name, operator), means in geometric_means(rows).items():
        print(f'{name:20}{operator:28}' + ''.join(_cell(value, 9) for value in means.values()))


def draw(rows, file):
    """Bar chart of the ratios, forward above forward + backward; log scale, conv2d is the line at 1."""
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    layers = list(dict.fromkeys((row['set'], row['layer']) for row in rows))
    names = [name for name in dict.fromkeys(row['operator'] for row in rows) if name != BASE]
    figure, axes = plt.subplots(2, 1, figsize=(max(8, 0.45 * len(layers)), 9), sharex=True, layout='constrained')
    for axis, key, title in zip(axes, ('forward_ratio', 'both_ratio'), ('forward', 'forward + backward'), strict=True):
        for i, name in enumerate(names):
            held = {(row['set'], row['layer']): row[key] for row in rows if row['operator'] == name}
            bars = [(j + 0.8 * i / len(names), held.get(place)) for j, place in enumerate(layers)]
            bars = [bar for bar in bars if bar[1]]
            axis.bar([x for x, _ in bars], [y for _, y in bars], 0.8 / len(names), align='edge', label=name)
        axis.axhline(1, color='black', linewidth=1)
        axis.set(yscale='log', ylabel='time over conv2d', title=title)
    axes[0].legend(ncols=len(names))
    axes[1].set_xticks([j + 0.4 for j in range(len(layers))], [f'{layer}' for _, layer in layers], rotation=90)
    with atomic_file(file) as target:
        figure.savefig(target, format='png', dpi=120)
    plt.close(figure)


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    sets = list(shape_sets())
    parser.add_argument('--sets', nargs='*', choices=sets, default=sets, metavar='SET',
                        help=f'networks whose distinct adder layers are measured, of {", ".join(sets)}; default: all')
    parser.add_argument('--models', action='store_true', help='whole detectors as well: inference and training step')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--threads', type=int, default=2, help='on the CPU (default: %(default)s)')
    parser.add_argument('--repeats', type=int, default=20,
                        help='calls that a figure is the median of (default: %(default)s; training steps of whole '
                             'models: a quarter)')
    parser.add_argument('--slow-repeats', type=int, default=0,
                        help=f'likewise for {" and ".join(SLOW)}; 0 (default) leaves them out')
    parser.add_argument('--json', metavar='FILE', help='write the figures there')
    parser.add_argument('--png', metavar='FILE', help='draw them there')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    work = [(name, shape) for name in args.sets for shape in shape_sets()[name]()]
    rows = []
    with tqdm(work, desc='layers', leave=False) as progress:
        for name, shape in progress:
            rows += [dict(set=name, **row) for row in measure_layer(shape, args, progress)]
    if args.models:
        with tqdm(desc='models', leave=False) as progress:
            rows += [dict(set='detector', **row) for row in measure_models(args, progress)]
    add_ratios(rows)
    kernels = native._native.isa() if native.available() else 'not built'
    place = torch.cuda.get_device_name() if args.device == 'cuda' else f'{args.threads} threads, compiled: {kernels}'
    print(f'torch {torch.__version__}, {place}; medians of {args.repeats} calls')
    print_table(rows)
    if args.json:
        with atomic_file(args.json) as file:
            file.write(json.dumps(dict(torch=torch.__version__, place=place, repeats=args.repeats, rows=rows),
                                  indent=1).encode())
    if args.png:
        draw(rows, args.png)


if __name__ == '__main__':
    main()
