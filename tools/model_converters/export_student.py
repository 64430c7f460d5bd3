"""Writes the student of a DeFeat checkpoint alone: `tools/model_converters/export_student.py CONFIG CHECKPOINT OUT`.

CONFIG is the plain detector's config. The result holds weights and the run's meta data, no adaptation layers and no
optimiser state, and fits the plain config in every entry.
"""

import argparse
import sys
from collections import OrderedDict
from pathlib import Path

import torch
from mmengine.config import DictAction
from mmengine.registry import MODELS, init_default_scope

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.runtime.atomic import atomic_file
from projects.runtime.build_errors import config_errors
from projects.runtime.checkpoint_files import read_checkpoint
from projects.runtime.checkpoint_hooks import compare_weights
from projects.runtime.command_line import CFG_OPTIONS_HELP, parse, run_tool
from projects.runtime.config_files import check_scope, load_config
from projects.runtime.data_options import apply_data_options
from projects.runtime.errors import CheckpointError, ConfigError

ADAPTATION = 'distiller.'


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the plain student, for example configs/retinanet_r50.py')
    parser.add_argument('checkpoint', help='checkpoint of the distilled run')
    parser.add_argument('out', type=Path, help='file to write')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help=CFG_OPTIONS_HELP)
    return parse(parser, argv)


def student_weights(content):
    """A checkpoint's weights without the adaptation layers."""
    weights = content.get('state_dict', content)
    return OrderedDict((key, value) for key, value in weights.items() if not key.startswith(ADAPTATION))


def check_fit(cfg, weights, source):
    """Raise an error unless the weights fit the plain model in every entry, both ways."""
    with config_errors(cfg):
        model = MODELS.build(cfg.model)
    if hasattr(model, 'distiller'):
        raise ConfigError(f'{cfg.filename}: this is the config of the distilled run. Expected that of the plain '
                          'student, from which it inherits')
    missing, differing, unknown = compare_weights(model, weights)
    if missing or differing or unknown:
        first = next(iter([*missing, *differing, *unknown]))
        raise CheckpointError(
            f'{source}: its student does not fit {cfg.filename}: {len(missing)} entries are missing, {len(differing)} '
            f'have another shape, {len(unknown)} are unknown to the model; the first is {first}')


def main(argv=None):
    args = parse_args(argv)
    content = read_checkpoint(args.checkpoint)
    cfg = load_config(args.config, args.cfg_options)
    check_scope(cfg)
    apply_data_options(cfg, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    weights = student_weights(content)
    check_fit(cfg, weights, args.checkpoint)
    with atomic_file(args.out) as file:
        torch.save(dict(meta=dict(content.get('meta') or {}), state_dict=weights), file)
    dropped = len(content.get('state_dict', content)) - len(weights)
    print(f'{args.out}: {len(weights)} entries; {dropped} of adaptation layers left out. Now:\n'
          f'  python tools/test.py {args.config} {args.out}')


if __name__ == '__main__':
    run_tool(main)
