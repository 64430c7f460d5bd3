"""Quantises the adder layers of a trained model: `python tools/analysis_tools/quantize_adder.py CONFIG CHECKPOINT`.

Post-training: a few training images pass through the model to find the ranges of activations, then every adder layer
becomes an integer layer. Nothing is trained. Written are a checkpoint and, beside it, the config that fits it.
"""

import argparse
import copy
import sys
from pathlib import Path

import torch
from mmengine.config import DictAction
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from tqdm import tqdm

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.adder.quantization import SCHEMES, calibrate, quantize
from projects.runtime.atomic import atomic_file
from projects.runtime.build_errors import config_errors
from projects.runtime.checkpoint_files import read_checkpoint
from projects.runtime.checkpoint_hooks import compare_weights
from projects.runtime.command_line import CFG_OPTIONS_HELP, parse, run_tool
from projects.runtime.config_files import check_scope, load_config
from projects.runtime.data_options import apply_data_options
from projects.runtime.data_paths import check_data_paths
from projects.runtime.errors import CheckpointError, ConfigError

EPILOG = """
For example, after `make demo`:

  python tools/analysis_tools/quantize_adder.py configs/adder_fcos_r18_mini.py work_dirs/mini_demo/epoch_17.pth
  python tools/test.py work_dirs/int8/adder_fcos_r18_mini_int8.py work_dirs/int8/adder_fcos_r18_mini_int8.pth

Schemes: `shared` gives a layer one step (arXiv 2101.10015), `grouped` one step to each of a few groups of its filters,
with clamped ranges (arXiv 2212.10200), which pays at 4 to 6 bits. See projects/adder/README.md.
"""


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the trained model')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('--out-dir', type=Path, default=Path('work_dirs/int8'), help='default: %(default)s')
    parser.add_argument('--scheme', choices=SCHEMES, default='shared', help='default: %(default)s')
    parser.add_argument('--bits', type=int, choices=range(2, 9), default=8, metavar='2..8', help='default: %(default)s')
    parser.add_argument('--num-scales', type=int, default=4,
                        help='groups of filters of the grouped scheme (default: %(default)s)')
    parser.add_argument('--images', type=int, default=32, help='images to calibrate on (default: %(default)s)')
    parser.add_argument('--split', choices=['train', 'val'], default='train',
                        help='where they come from (default: %(default)s; figures on the images that a model was '
                             'calibrated on are not a test)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help=CFG_OPTIONS_HELP)
    return parse(parser)


def load_model(cfg, checkpoint, source):
    """The trained model of a config; every entry of the checkpoint must fit."""
    model = MODELS.build(cfg.model)
    problems = [*compare_weights(model, checkpoint.get('state_dict', checkpoint))]
    if any(problems):
        missing, differing, unknown = map(len, problems)
        raise CheckpointError(
            f"{source}: not a checkpoint of {cfg.filename}: it lacks {missing} of the model's entries, {differing} "
            f'have another shape, {unknown} are unknown to the model. Expected the checkpoint of a model trained with '
            'this config')
    model.eval()
    return model


def calibration_batches(cfg, split, images):
    """Batches of the split's data loader, until ``images`` of them have come."""
    loader = cfg[f'{split}_dataloader']
    loader.setdefault('sampler', dict(type='DefaultSampler', shuffle=True))
    seen = 0
    with tqdm(total=images, desc='calibrating', unit='image') as bar:
        for batch in Runner.build_dataloader(loader, seed=0):
            yield batch
            count = len(batch['inputs'])
            bar.update(min(count, images - seen))
            seen += count
            if seen >= images:
                return


def integer_config(cfg, bits, num_scales):
    """A copy of the config whose adder layers are integer layers."""
    cfg = copy.deepcopy(cfg)

    def visit(node):
        if isinstance(node, dict):
            if node.get('type') == 'Adder2d':
                node.clear()
                node.update(type='QuantAdder2d', bits=bits, num_scales=num_scales)
            node = list(node.values())
        for child in node if isinstance(node, (list, tuple)) else ():
            visit(child)

    visit(cfg._cfg_dict['model'])
    return cfg


def quantise(args, cfg):
    """(config, checkpoint, number of layers) of the integer model."""
    checkpoint = read_checkpoint(args.checkpoint)
    model = load_model(cfg, checkpoint, args.checkpoint)
    with torch.no_grad(), calibrate(model) as ranges:
        for batch in calibration_batches(cfg, args.split, args.images):
            data = model.data_preprocessor(batch, False)
            model._run_forward(data, mode='tensor')
    num_scales = args.num_scales if args.scheme == 'grouped' else 1
    try:
        quantize(model, ranges, args.scheme, args.bits, num_scales)
    except ValueError as error:
        raise ConfigError(f'{args.config}: {error}') from None
    new = integer_config(cfg, args.bits, num_scales)
    state = model.state_dict()
    left = compare_weights(MODELS.build(new.model), state)
    if any(left):
        raise ConfigError(f'{args.config}: its model holds adder layers that the config does not name, so that the '
                          f"integer model cannot be built from a config: {(left[0] + left[2])[:3]}. Write "
                          "conv_cfg=dict(type='Adder2d') where they come from")
    meta = dict(checkpoint.get('meta') or {})
    meta['quantization'] = dict(scheme=args.scheme, bits=args.bits, num_scales=num_scales, images=args.images,
                                split=args.split, source=Path(args.checkpoint).name)
    return new, dict(meta=meta, state_dict=state), len(ranges)


def main():
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    check_scope(cfg)
    apply_data_options(cfg, args.cfg_options)
    check_data_paths(cfg, (args.split,))
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    with config_errors(cfg):
        new, content, layers = quantise(args, cfg)
    stem = args.out_dir / f'{Path(args.config).stem}_int{args.bits}'
    with atomic_file(stem.with_suffix('.pth')) as file:
        torch.save(content, file)
    with atomic_file(stem.with_suffix('.py')) as file:
        file.write(new.pretty_text.encode())
    print(f'{layers} adder layers, {args.scheme} scheme, {args.bits} bits, calibrated on {args.images} {args.split} '
          f'images. Now:\n  python tools/test.py {stem}.py {stem}.pth')


if __name__ == '__main__':
    run_tool(main)
