"""Train the model of a config: `python tools/train.py CONFIG`.

The options are those of mmdet's script. Before anything is built, the data's paths, the checkpoint
to start from and the options are checked; checkpoints are saved atomically, and `--resume` goes on
from the newest one that can be loaded.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from projects.runtime.build_errors import config_errors
from projects.runtime.command_line import add_common_arguments, parse, run_tool
from projects.runtime.config_files import check_scope, load_config
from projects.runtime.data_options import apply_data_options
from projects.runtime.data_paths import check_data_paths
from projects.runtime.environment import say, version_report
from projects.runtime.launch import start_distributed
from projects.runtime.preparation import (
    add_match_check,
    build_runner,
    check_initial_weights,
    choose_resume,
    enable_amp,
    enable_lr_scaling,
    set_work_dir,
    use_atomic_saving,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a model.')
    parser.add_argument('config', help='config file')
    parser.add_argument('--amp', action='store_true',
                        help='automatic mixed precision (needs a GPU)')
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help='scale the learning rate by the batch size, as auto_scale_lr says')
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
                        help='go on from this checkpoint; without a value, from the newest one in '
                             'the work dir that can be loaded')
    add_common_arguments(parser)
    return parse(parser)


def prepare(args: argparse.Namespace):
    """The config of the run, checked."""
    cfg = load_config(args.config, args.cfg_options)
    check_scope(cfg)
    notes = apply_data_options(cfg, args.cfg_options)
    set_work_dir(cfg, args.work_dir, args.config)
    if args.amp:
        enable_amp(cfg)
    if args.auto_scale_lr:
        enable_lr_scaling(cfg)
    check_data_paths(cfg, ('train', 'val'))
    notes.append(choose_resume(cfg, args.resume))
    check_initial_weights(cfg)
    use_atomic_saving(cfg)
    add_match_check(cfg, strict=bool(cfg.get('resume')))
    start_distributed(cfg, args.launcher)
    for note in filter(None, [version_report(), *notes]):
        say(note)
    return cfg


def main() -> None:
    cfg = prepare(parse_args())
    with config_errors(cfg):
        runner = build_runner(cfg)
        runner.train()
    runner.logger.info(f'Finished. Checkpoints: {runner.work_dir}/  Log and curves: '
                       f'{runner.log_dir}/')


if __name__ == '__main__':
    run_tool(main)
