"""Images per second of a model on its test data: the model alone, and with reading and preparing the data.

`model` times `test_step` on batches that are in memory: preprocessing, network, and postprocessing such as NMS.
`data+model` times the same behind the config's own data loader. Each is repeated; shown are the median and the range.
Without a checkpoint the weights are random, which detectors answer with more or fewer boxes than trained ones. Of
several test sets the first is taken.
"""

import argparse
import copy
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.registry import MODELS
from mmengine.runner import Runner

sys.path.append(str(Path(__file__).resolve().parents[2]))
sys.path.append(str(Path(__file__).resolve().parent))

from config_data import loaders, read_config

from projects.runtime.atomic import write_atomic
from projects.runtime.build_errors import config_errors
from projects.runtime.checkpoint_files import read_checkpoint
from projects.runtime.checkpoint_hooks import match_weights
from projects.runtime.command_line import CFG_OPTIONS_HELP, parse, run_tool
from projects.runtime.errors import ConfigError

KEPT_BATCHES = 8
EPILOG = """
A trained detector on one image at a time, 50 of them, three times:

  python tools/analysis_tools/benchmark_throughput.py configs/fcos_r50.py model.pth

Batches of 1, 8 and 32, of the network and what belongs to it alone, into a JSON file:

  python tools/analysis_tools/benchmark_throughput.py configs/fcos_r50.py --batch-sizes 1 8 32 --parts model \\
      --out throughput.json
"""


@dataclass
class Row:
    """A measurement: images per second of every repetition."""

    part: str
    batch_size: int
    images: int
    per_second: list[float]
    peak_mib: float

    def text(self) -> str:
        """A line of the table."""
        middle = median(self.per_second)
        return (f'{self.part:11}{self.batch_size:6}{middle:12.2f}{min(self.per_second):10.2f} to '
                f'{max(self.per_second):<10.2f}{1000 / middle:9.1f}{self.peak_mib:10.0f}')


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file (default: random weights)')
    parser.add_argument('--parts', nargs='+', choices=['model', 'data+model'], metavar='PART',
                        default=['model', 'data+model'], help='default: model data+model')
    parser.add_argument('--batch-sizes', type=int, nargs='+', default=[1], metavar='N', help='default: 1')
    parser.add_argument('--iters', type=int, default=50, help='batches in each repetition (default: 50)')
    parser.add_argument('--warmup', type=int, default=5, help='batches before, not timed (default: 5)')
    parser.add_argument('--repeat', type=int, default=3, help='repetitions (default: 3)')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1... (default: auto)')
    parser.add_argument('--out', type=Path, metavar='FILE.json', help='write all measurements there')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help=CFG_OPTIONS_HELP)
    args = parse(parser, argv)
    if min(*args.batch_sizes, args.iters, args.repeat) < 1 or args.warmup < 0:
        parser.error('--batch-sizes, --iters and --repeat: expected numbers above 0')
    args.device = get_device() if args.device == 'auto' else args.device
    return args


def build_model(cfg: Config, checkpoint: str | None, device: str) -> torch.nn.Module:
    """The config's model for testing, with the checkpoint's weights.

    Raises:
        CheckpointError: the checkpoint cannot be read, or does not fit.
    """
    content = read_checkpoint(checkpoint) if checkpoint else None
    with config_errors(cfg):
        model = MODELS.build(cfg.model)
    if content is not None:
        match_weights(model, content, strict=True)
    return model.to(device).eval()


def synchronise(device: str) -> None:
    """Wait until the GPU has done what it was given."""
    if device.startswith('cuda'):
        torch.cuda.synchronize(device)


def peak_mib(device: str) -> float:
    """Most memory so far: of the GPU since the last reset, or of the process on a CPU, in MiB."""
    if device.startswith('cuda'):
        return torch.cuda.max_memory_allocated(device) / 2 ** 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2 ** 10 if sys.platform == 'linux' else 2 ** 20)


class Stream:
    """Batches of a data loader without end.

    Args:
        loader: a data loader.
    """

    def __init__(self, loader) -> None:
        self.loader, self.source = loader, iter(loader)

    def next(self):
        """The next batch; behind the last one comes the first."""
        try:
            return next(self.source)
        except StopIteration:
            self.source = iter(self.loader)
            return next(self.source)


def step(model: torch.nn.Module, batch, size: int):
    """One `test_step`.

    Raises:
        ConfigError: images of different sizes in a batch of several, which the model does not pad.
    """
    try:
        return model.test_step(batch)
    except (AssertionError, RuntimeError, ValueError) as error:
        if size == 1:
            raise
        raise ConfigError(f'--batch-sizes {size}: the model refuses such a batch: {error}. Images of different sizes '
                          'need a data_preprocessor that pads when testing, or --batch-sizes 1') from error


def time_model(model, stream: Stream, size: int, args: argparse.Namespace) -> tuple[int, float]:
    """Images and seconds of `iters` steps on batches in memory; the copies that are handed over are not timed."""
    kept = [stream.next() for _ in range(min(KEPT_BATCHES, args.iters))]
    images, seconds = 0, 0.0
    for index in range(args.iters):
        batch = copy.deepcopy(kept[index % len(kept)])
        synchronise(args.device)
        start = time.perf_counter()
        images += len(step(model, batch, size))
        synchronise(args.device)
        seconds += time.perf_counter() - start
    return images, seconds


def time_both(model, stream: Stream, size: int, args: argparse.Namespace) -> tuple[int, float]:
    """Images and seconds of `iters` steps behind the data loader."""
    images = 0
    synchronise(args.device)
    start = time.perf_counter()
    for _ in range(args.iters):
        images += len(step(model, stream.next(), size))
    synchronise(args.device)
    return images, time.perf_counter() - start


@torch.no_grad()
def measure(model, cfg: Config, part: str, size: int, args: argparse.Namespace) -> Row:
    """Repeat one measurement."""
    loader = dict(copy.deepcopy(loaders(cfg, 'test')[0]), batch_size=size)
    loader.pop('batch_sampler', None)
    stream = Stream(Runner.build_dataloader(loader))
    if args.device.startswith('cuda'):
        torch.cuda.reset_peak_memory_stats(args.device)
    for _ in range(args.warmup):
        step(model, stream.next(), size)
    timer, speeds, total = (time_model if part == 'model' else time_both), [], 0
    for turn in range(args.repeat):
        images, seconds = timer(model, stream, size, args)
        speeds.append(images / seconds)
        total += images
        print(f'[{turn + 1}/{args.repeat}] {part}, batches of {size}: {speeds[-1]:.2f} images/s', flush=True)
    return Row(part, size, total, speeds, peak_mib(args.device))


def main(argv=None) -> None:
    args = parse_args(argv)
    cfg = read_config(args.config, args.cfg_options, 'test')
    model = build_model(cfg, args.checkpoint, args.device)
    cuda = args.device.startswith('cuda')
    device = torch.cuda.get_device_name(args.device) if cuda else f'CPU, {torch.get_num_threads()} threads'
    rows = [measure(model, cfg, part, size, args) for part in args.parts for size in args.batch_sizes]
    memory = 'of the GPU' if cuda else 'of the process'
    print(f'\n{args.config} on {device}\n{"part":11}{"batch":>6}{"images/s":>12}{"range":>14}{"ms/image":>19}'
          f'{"MiB*":>10}')
    print('\n'.join(row.text() for row in rows) + f'\n* peak memory {memory}')
    if args.out:
        write_atomic(args.out, json.dumps(dict(
            config=args.config, checkpoint=args.checkpoint, device=device, torch=torch.__version__, iters=args.iters,
            warmup=args.warmup, rows=[asdict(row) for row in rows]), indent=1))


if __name__ == '__main__':
    run_tool(main)
