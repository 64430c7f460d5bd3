"""What a config's model costs to run: `python tools/analysis_tools/get_cost.py CONFIG`.

Counted are the multiplications and additions of one image, separately and by module, with the energy of this
arithmetic, parameters, elements of layer outputs and peak memory. Without --dataset no arithmetic is done and no data
and no weights are needed: shapes alone pass through the model. Point clouds are the exception, they take a small
drawn scene.
"""

import argparse
import json
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from torch import nn
from tqdm import tqdm

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.complexity import ENERGIES, Cost, Energy, get_cost, mean_cost
from projects.complexity.inputs import build_model, dataset_batches, scene_batch
from projects.complexity.passes import GATES, default_shape, fixed_gates, gated, image_pass, input_size
from projects.complexity.report import comparison, draw, table
from projects.runtime.atomic import write_atomic
from projects.runtime.build_errors import config_errors
from projects.runtime.checkpoint_files import check_checkpoint
from projects.runtime.command_line import CFG_OPTIONS_HELP, parse, run_tool
from projects.runtime.config_files import check_scope, load_config
from projects.runtime.data_options import apply_data_options
from projects.runtime.data_paths import check_data_paths
from projects.runtime.errors import ConfigError

EPILOG = """
A convolution or matrix product of M multiply-adds has M multiplications and M additions, an adder layer 2 M additions.
Biases, norms, activations, pooling, interpolation and shifts count nothing. Energy is mul * 3.7 pJ + add * 0.9 pJ in
fp32, 0.2 and 0.03 pJ in int8 (arXiv 2112.13608); memory traffic is not in it.

Examples:
  one model, two levels of modules             get_cost.py configs/adder_fcos_r50.py
  its parts in detail, as a file               get_cost.py configs/adder_fcos_r50.py --depth 4 --json cost.json
  adder neck and plain one, with a picture     get_cost.py configs/adder_fcos_r50_fpn.py --compare configs/fcos_r50.py
                                                 --picture cost.png
  gates, proposals as real images have them    get_cost.py configs/dyfpn_faster_rcnn_r50.py epoch_12.pth --dataset 100
  another size                                 get_cost.py configs/edsr_x2.py --shape 48 48
"""
NOTES = dict(RPAFPN='the neck is counted as it is. The figures of arXiv 2112.13608, table 5, are those of a plain FPN: '
                    'configs/adder_fcos_r50_fpn.py')
"""By the class of a part of the model."""
DENSE = dict(PrunedSegmentor='EncoderDecoder', PrunedCascadeSegmentor='CascadeEncoderDecoder')
"""What the types of pruned models are before pruning."""


@dataclass
class Counted:
    """Costs of a config, what they were counted for, and what the reader should know."""

    name: str
    cost: Cost
    what: str
    notes: list[str] = field(default_factory=list)


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', nargs='?', help='weights; they matter with --dataset alone')
    parser.add_argument('--shape', type=int, nargs=2, metavar=('H', 'W'),
                        help='of the image that the network gets (default: the size of the test pipeline, not padded; '
                             'super-resolution: what gives 720 x 1280 pixels; IPT: its window)')
    parser.add_argument('--dtype', choices=sorted(ENERGIES), default='fp32',
                        help='number type of the energy table (default: %(default)s); counts do not depend on it')
    parser.add_argument('--pj', type=float, nargs=2, metavar=('MUL', 'ADD'),
                        help='picojoules of an operation, instead of those of --dtype')
    parser.add_argument('--dataset', type=int, nargs='?', const=20, metavar='N',
                        help='run N images of the test set as in testing, and give the mean (20 if N is left out; 0: '
                             'all); padding, gates, proposals, windows and voxels are then what they are')
    parser.add_argument('--gates', choices=GATES, default='dearest',
                        help='without --dataset: what gates of dynamic networks choose (default: %(default)s)')
    parser.add_argument('--depth', type=int, default=2, help='levels of modules in the table (default: %(default)s)')
    parser.add_argument('--compare', metavar='CONFIG2', help='a second config, counted under the same options')
    parser.add_argument('--json', metavar='FILE', help='write all modules there')
    parser.add_argument('--picture', metavar='FILE.png', help='draw the costs as bars, by main parts')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help=f'of CONFIG, not of CONFIG2: {CFG_OPTIONS_HELP}')
    args = parse(parser, arguments)
    if args.shape and (args.dataset is not None or min(args.shape) < 1):
        parser.error('--shape: expected positive numbers, and no --dataset, whose images have sizes of their own')
    if args.pj and min(args.pj) < 0 or args.depth < 0 or (args.dataset or 0) < 0:
        parser.error('--pj, --depth and --dataset: expected numbers from 0 on')
    return args


def read_config(path: str, options: dict, notes: list[str]) -> Config:
    """The config, checked; a pruned model without its structure file becomes the dense one."""
    cfg = load_config(path, options)
    check_scope(cfg)
    notes += apply_data_options(cfg, options)
    structure = cfg.model.get('structure')
    if cfg.model.type in DENSE and isinstance(structure, str) and not Path(structure).is_file():
        cfg.model.type = DENSE[cfg.model.type]
        del cfg.model['structure']
        notes.append(f'{structure} is not there: counted is the DENSE model, before pruning')
    return cfg


def count_config(path: str, args: argparse.Namespace, checkpoint: str | None = None, options: dict | None = None
                 ) -> Counted:
    """Count the model of a config as the command line says."""
    notes: list[str] = []
    cfg = read_config(path, options or {}, notes)
    energy = Energy(*args.pj) if args.pj else ENERGIES[args.dtype]
    if checkpoint is not None:
        check_checkpoint(checkpoint)
    with config_errors(cfg):
        if args.dataset is not None:
            model, cost, what = count_dataset(cfg, args.dataset, checkpoint, energy, notes)
        elif cfg.get('default_scope') == 'mmdet3d':
            model, cost, what = count_scene(cfg, args.shape, checkpoint, energy, notes)
        else:
            model, cost, what = count_shape(cfg, args, checkpoint, energy, notes)
    kinds = {type(module).__name__ for module in model.modules()}
    notes += [note for kind, note in NOTES.items() if kind in kinds]
    return Counted(Path(path).stem, cost, what, notes)


def predict(model: nn.Module, inputs, data_samples):
    """One pass as in testing."""
    return model(inputs, data_samples, mode='predict')


def count_dataset(cfg, number, checkpoint, energy, notes):
    """Mean over images of the test set."""
    check_data_paths(cfg, ('test',))
    model = build_model(cfg, checkpoint=checkpoint)
    if checkpoint is None and (gated(model) or hasattr(model, 'roi_head') or cfg.get('default_scope') == 'mmdet3d'):
        notes.append('no checkpoint was given: gates, proposals and groups are those of random weights')
    costs = [get_cost(model, model.data_preprocessor(batch, False), forward=predict, energy=energy)
             for batch in tqdm(dataset_batches(cfg, number), unit='image', leave=False)]
    return model, mean_cost(costs), f'mean of {len(costs)} from the (first) test set, prepared as in testing'


def count_scene(cfg, shape, checkpoint, energy, notes):
    """A drawn scene, for point clouds."""
    if shape:
        raise ConfigError(f'--shape: {cfg.filename} takes point clouds, which have no height and width. Leave it out '
                          '(a drawn scene is counted), or give --dataset')
    model = build_model(cfg, checkpoint=checkpoint)
    batch = model.data_preprocessor(scene_batch(cfg), False)
    what = 'a drawn scene'
    if 'voxel_features' in batch['inputs']:
        what += (f' of {len(batch["inputs"]["coords"]):,} points in {len(batch["inputs"]["voxel_features"]):,} voxels')
        notes.append('heads that score groups run on the groups that are found: with random weights on none. Give a '
                     'checkpoint and --dataset')
    return model, get_cost(model, batch, forward=predict, energy=energy), what


def count_shape(cfg, args, checkpoint, energy, notes):
    """One image of a given size, on the meta device; on the CPU, if the model asks for values."""
    if checkpoint is not None:
        build_model(cfg, checkpoint=checkpoint)  # only to see that it fits
    model = build_model(cfg, 'meta')
    try:
        shape = tuple(args.shape or default_shape(cfg, model))
    except LookupError as error:
        raise ConfigError(f'{cfg.filename}: no size to count for ({error}). Give --shape HEIGHT WIDTH') from error
    choices = [args.gates, *(GATES.keys() - {args.gates})] if gated(model) else [None]
    costs = []
    for choice in choices:
        model, cost = _count_image(cfg, model, shape, choice, energy, notes)
        costs.append(cost)
    if len(costs) > 1:
        notes.append(f'gates choose the {choices[0]}; with the {choices[1]}: mul {costs[1].mul / 1e9:,.2f} G, add '
                     f'{costs[1].add / 1e9:,.2f} G, {costs[1].energy_mj:,.1f} mJ')
    return model, costs[0], f'an image of {shape[0]} x {shape[1]}'


def _count_image(cfg, model, shape, choice, energy, notes):
    size = input_size(model, shape)
    with fixed_gates(model, choice) if choice else nullcontext():
        try:
            device = next(model.parameters(), torch.empty(0, device='meta')).device
            return model, get_cost(model, torch.zeros(size, device=device), forward=image_pass, energy=energy)
        except (RuntimeError, NotImplementedError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
    model = build_model(cfg)
    notes.append(f'shapes alone do not do ({reason}): the network ran on the CPU, with random weights')
    try:
        with fixed_gates(model, choice) if choice else nullcontext():
            return model, get_cost(model, torch.zeros(size), forward=image_pass, energy=energy)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f'{cfg.filename}: its model does not run on an image of {shape[0]} x {shape[1]}: '
                          f'{error}. Give another --shape HEIGHT WIDTH') from error


def describe(counted: Counted, depth: int) -> str:
    """Everything about one model, for the terminal."""
    cost = counted.cost
    lines = [f'{counted.name}: {counted.what}; {cost.energy.mul} pJ a multiplication, {cost.energy.add} pJ an addition',
             table(cost, depth),
             f'total: {cost.mul / 1e9:,.3f} G multiplications, {cost.add / 1e9:,.3f} G additions, '
             f'{cost.energy_mj:,.2f} mJ, {cost.params / 1e6:,.3f} M parameters, peak memory '
             f'{cost.peak_bytes / 2 ** 20:,.0f} MiB (weights and maps, no workspaces)']
    if cost.params_idle:
        lines.append(f'note: {cost.params_idle / 1e6:,.3f} M of the parameters were not used')
    if cost.uncounted:
        lines.append(f'WARNING: operators without a rule, not counted: {", ".join(cost.uncounted)}')
    return '\n'.join([*lines, *(f'note: {note}' for note in counted.notes)])


def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    found = [count_config(args.config, args, args.checkpoint, args.cfg_options)]
    if args.compare:
        found.append(count_config(args.compare, args))
    print('\n\n'.join(describe(counted, args.depth) for counted in found))
    names, costs = [counted.name for counted in found], [counted.cost for counted in found]
    if args.compare:
        print('\n' + comparison(names, costs))
    if args.json:
        write_atomic(args.json, json.dumps([dict(config=counted.name, input=counted.what, notes=counted.notes,
                                                 **counted.cost.as_dict()) for counted in found], indent=1))
    if args.picture:
        draw(names, costs, args.picture)


if __name__ == '__main__':
    run_tool(main)
