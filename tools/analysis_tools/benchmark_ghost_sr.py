"""Times EDSR and ghost EDSR in inference, side by side in one run: dense, one-hot convolutions, slices, folded."""

import argparse
import copy
import json
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.ghost_sr import GhostConv2d, GhostEDSR
from projects.restoration import EDSR
from projects.runtime.atomic import write_atomic

# features: (blocks, res_scale, side of the input), the published sizes of EDSR-baseline and EDSR
MODELS = {64: (16, 1.0, 128), 256: (32, 0.1, 64)}


class OneHotShift(nn.Module):
    """A ghost layer that shifts by depth-wise one-hot convolution, as the released code does in inference."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        window = torch.zeros(layer.ghost_channels, 1, 3, 3)
        (dy, dx), = layer.offsets()
        window[:, :, 1 + dy, 1 + dx] = 1
        self.register_buffer('window', window)

    def forward(self, x):
        maps = self.layer.primary_conv(x)
        ghosts = F.conv2d(self.layer.sources(maps), self.window, padding=1, groups=len(self.window))
        return self.layer.in_output_order(torch.cat([maps, ghosts], 1))


def with_one_hot_shifts(model):
    """A copy of a ghost network that shifts by convolution."""
    model = copy.deepcopy(model)
    layers = [name for name, m in model.named_modules() if isinstance(m, GhostConv2d)]
    for name in layers:
        parent, _, last = name.rpartition('.')
        setattr(model.get_submodule(parent), last, OneHotShift(model.get_submodule(name)))
    return model


def variants(features, scale, clustered):
    """Name to network; all ghost networks have the same weights and the same random directions."""
    blocks, res_scale, _ = MODELS[features]
    size = dict(mid_channels=features, num_blocks=blocks, res_scale=res_scale, upscale_factor=scale)
    torch.manual_seed(0)
    ghost = GhostEDSR(**size).eval()
    for layer in ghost.modules():
        if clustered and isinstance(layer, GhostConv2d):
            layer.set_channels(torch.randint(layer.intrinsic_channels, (layer.ghost_channels,)),
                               torch.randperm(layer.out_channels))
    networks = {'EDSR': EDSR(**size), 'ghost, one-hot convolution': with_one_hot_shifts(ghost)}
    for form in ('slice', 'fold'):
        networks[f'ghost, deployed ({form})'] = copy.deepcopy(ghost).switch_to_deploy(form)
    return {name: network.eval() for name, network in networks.items()}


@torch.inference_mode()
def measure(networks, image, repeats):
    """Median time of each network in ms; the networks take turns, so that a slow moment meets them all."""
    times = {name: [] for name in networks}
    for turn in range(repeats + 1):
        for name, network in networks.items():
            begin = time.perf_counter()
            network(image)
            if turn:  # the first turn warms up
                times[name].append((time.perf_counter() - begin) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--features', type=int, nargs='+', choices=MODELS, default=[*MODELS],
                        help='64: EDSR-baseline, 16 blocks; 256: EDSR, 32 blocks (default: both)')
    parser.add_argument('--scale', type=int, choices=(2, 3, 4), default=2, help='default: %(default)s')
    parser.add_argument('--size', type=int, help='side of the input (default: 128 for 64 features, 64 for 256)')
    parser.add_argument('--clustered', action='store_true', help='shuffled channels, as behind the choice of filters '
                        'of a dense network')
    parser.add_argument('--channels-last', action='store_true', help='lay images out with channels last')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=5, help='runs a figure is the median of (default: %(default)s)')
    parser.add_argument('--json', metavar='FILE', help='write the figures there as well')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    rows = []
    for features in tqdm(args.features, desc='networks', leave=False):
        side = args.size or MODELS[features][2]
        networks = {name: network.to(memory_format=layout)
                    for name, network in variants(features, args.scale, args.clustered).items()}
        image = (torch.rand(1, 3, side, side) * 255).to(memory_format=layout)
        times = measure(networks, image, args.repeats)
        rows += [dict(features=features, scale=args.scale, input=side, network=name, ms=ms, ratio=ms / times['EDSR'])
                 for name, ms in times.items()]
    print(f'{args.threads} threads, {"channels last" if args.channels_last else "channels first"}, torch '
          f'{torch.__version__}; medians of {args.repeats}')
    print(f'{"features":>8}{"scale":>6}{"input":>7}  {"network":28}{"ms":>10}{"ratio":>7}')
    for row in rows:
        print(f'{row["features"]:8}{row["scale"]:6}{row["input"]:7}  {row["network"]:28}{row["ms"]:10.1f}'
              f'{row["ratio"]:7.2f}')
    if args.json:
        write_atomic(args.json, json.dumps(dict(
            threads=args.threads, clustered=args.clustered, channels_last=args.channels_last, rows=rows), indent=1))


if __name__ == '__main__':
    main()
