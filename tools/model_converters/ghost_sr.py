"""Turns a dense checkpoint into a ghost one to fine-tune (`convert`), and a trained ghost model into its inference form
(`deploy`)."""

import argparse
import copy
import sys
from pathlib import Path

import torch
from mmengine.config import DictAction
from mmengine.registry import MODELS, init_default_scope

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.ghost_sr import GhostConv2d, initialise_from_dense
from projects.ghost_sr.deploy import FORMS
from projects.runtime.atomic import atomic_file
from projects.runtime.build_errors import config_errors
from projects.runtime.checkpoint_files import read_checkpoint, read_weights
from projects.runtime.checkpoint_hooks import compare_weights
from projects.runtime.command_line import CFG_OPTIONS_HELP, parse, run_tool
from projects.runtime.config_files import check_scope, load_config
from projects.runtime.errors import CheckpointError, ConfigError

EPILOG = """
From a trained EDSR to a ghost EDSR in use:

  python tools/model_converters/ghost_sr.py convert configs/ghost_edsr_x2.py work_dirs/edsr_x2/iter_300000.pth \\
      checkpoints/ghost_edsr_x2_init.pth
  python tools/train.py configs/ghost_edsr_x2.py --cfg-options load_from=checkpoints/ghost_edsr_x2_init.pth
  python tools/model_converters/ghost_sr.py deploy configs/ghost_edsr_x2.py work_dirs/ghost_edsr_x2/iter_300000.pth
  python tools/test.py work_dirs/deployed/ghost_edsr_x2_slice.py work_dirs/deployed/ghost_edsr_x2_slice.pth
"""


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    convert = commands.add_parser('convert', help='choose filters of a dense checkpoint by clustering')
    convert.add_argument('config', help='config of the ghost model')
    convert.add_argument('checkpoint', help='checkpoint of its dense twin')
    convert.add_argument('out', type=Path, help='checkpoint to write, for load_from')
    convert.add_argument('--seed', type=int, default=0, help='of k-means (default: %(default)s)')
    deploy = commands.add_parser('deploy', help='fix the directions and drop what only training needs')
    deploy.add_argument('config', help='config of the trained ghost model')
    deploy.add_argument('checkpoint', help='its checkpoint')
    deploy.add_argument('--out-dir', type=Path, default=Path('work_dirs/deployed'), help='default: %(default)s')
    deploy.add_argument('--form', choices=FORMS, default='slice',
                        help='slice: bit for bit the trained model (default); fold: faster, equal but for rounding')
    for command in (convert, deploy):
        command.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help=CFG_OPTIONS_HELP)
    return parse(parser, argv)


def ghost_model(cfg):
    """The model of a config, which must hold ghost layers."""
    model = MODELS.build(cfg.model)
    if not any(isinstance(m, GhostConv2d) for m in model.modules()):
        raise ConfigError(f'{cfg.filename}: its model has no GhostConv2d layers: expected a ghost network that is not '
                          'deployed, for example model.generator.type=GhostEDSR')
    return model


def convert(args, cfg):
    """Write the ghost model's first checkpoint."""
    model = ghost_model(cfg)
    weights = read_weights(args.checkpoint)
    try:
        layers = initialise_from_dense(model, weights, args.seed)
    except ValueError as error:
        raise CheckpointError(f'{args.checkpoint}: {error}') from None
    meta = dict(converted_from=Path(args.checkpoint).name, seed=args.seed)
    with atomic_file(args.out) as file:
        torch.save(dict(meta=meta, state_dict=model.state_dict()), file)
    print(f'{layers} layers with intrinsic filters chosen by clustering, and random directions. Now:\n'
          f'  python tools/train.py {args.config} --cfg-options load_from={args.out}')


def trained_model(cfg, checkpoint, source):
    """The trained model of a config; every entry of the checkpoint must fit."""
    model = ghost_model(cfg)
    problems = [*compare_weights(model, checkpoint.get('state_dict', checkpoint))]
    if any(problems):
        missing, differing, unknown = map(len, problems)
        raise CheckpointError(f'{source}: not a checkpoint of {cfg.filename}: {missing} entries of the model are '
                              f'missing in it, {differing} have another shape, {unknown} are unknown to the model. '
                              'Expected the checkpoint of a model trained with this config')
    return model.eval()


@torch.no_grad()
def largest_difference(model, deployed):
    """Of two models' outputs for one random picture, relative to the largest output."""
    image = torch.rand(1, 3, 24, 31, generator=torch.Generator().manual_seed(0))
    expected, found = model.generator(image), deployed.generator(image)
    return ((expected - found).abs().max() / expected.abs().max()).item()


def deploy(args, cfg):
    """Write the deployed model's checkpoint and config."""
    if not hasattr(MODELS.get(cfg.model.get('generator', {}).get('type', '')), 'switch_to_deploy'):
        raise ConfigError(f'{args.config}: model.generator.type: expected GhostEDSR, GhostRDN, GhostCARN or GhostIMDN; '
                          'other models with ghost layers are deployed in Python by projects.ghost_sr.deploy')
    checkpoint = read_checkpoint(args.checkpoint)
    model = trained_model(cfg, checkpoint, args.checkpoint)
    deployed = copy.deepcopy(model)
    deployed.generator.switch_to_deploy(args.form)
    difference = largest_difference(model, deployed)
    new = copy.deepcopy(cfg)
    new.model.generator.deploy = args.form
    meta = dict(checkpoint.get('meta') or {}) | dict(ghost_form=args.form)
    stem = args.out_dir / f'{Path(args.config).stem}_{args.form}'
    with atomic_file(stem.with_suffix('.pth')) as file:
        torch.save(dict(meta=meta, state_dict=deployed.state_dict()), file)
    with atomic_file(stem.with_suffix('.py')) as file:
        file.write(new.pretty_text.encode())
    print(f'Deployed ({args.form}); largest difference from the trained model on a random picture: {difference:.1e} of '
          f'the largest output. Now:\n  python tools/test.py {stem}.py {stem}.pth')


def main(argv=None):
    args = parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    check_scope(cfg)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    with config_errors(cfg):
        dict(convert=convert, deploy=deploy)[args.command](args, cfg)


if __name__ == '__main__':
    run_tool(main)
