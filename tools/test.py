"""Test a checkpoint: `python tools/test.py CONFIG CHECKPOINT`.

The options are those of mmdet's script. The checkpoint is read first, with torch's check against
code in it, and must fit the config's model in every entry.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from projects.runtime.build_errors import config_errors
from projects.runtime.checkpoint_files import check_checkpoint
from projects.runtime.command_line import add_common_arguments, parse, run_tool
from projects.runtime.config_files import check_scope, load_config
from projects.runtime.data_options import apply_data_options
from projects.runtime.data_paths import check_data_paths
from projects.runtime.environment import say, version_report
from projects.runtime.errors import ConfigError
from projects.runtime.ground_truth import leave_out_ground_truth
from projects.runtime.launch import start_distributed
from projects.runtime.prediction_dump import check_out, dump_predictions
from projects.runtime.preparation import (
    add_match_check,
    build_runner,
    enable_drawing,
    enable_tta,
    set_work_dir,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Test (and evaluate) a model.')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file, or "none" for a model without weights')
    parser.add_argument('--out', metavar='FILE.pkl',
                        help='write the predictions there, for tools/submit.py or offline metrics; segmentation: or a '
                        'folder, for one label image (PNG) each')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--show-dir', help='save painted images there; a relative folder counts '
                        'from WORK_DIR/TIME/')
    parser.add_argument('--wait-time', type=float, default=2,
                        help='seconds to show each image (default: 2)')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    parser.add_argument('--without-metrics', action='store_true',
                        help='the test set has no ground truth: load no annotations, compute no metrics')
    add_common_arguments(parser)
    return parse(parser)


def prepare(args: argparse.Namespace):
    """The config of the run, checked."""
    args.checkpoint = None if args.checkpoint == 'none' else args.checkpoint
    if args.checkpoint:
        check_checkpoint(args.checkpoint)
    cfg = load_config(args.config, args.cfg_options)
    check_scope(cfg)
    if args.out:
        check_out(args.out, cfg.get('default_scope', 'mmengine'))
    notes = apply_data_options(cfg, args.cfg_options)
    set_work_dir(cfg, args.work_dir, args.config)
    cfg.load_from, cfg.resume = args.checkpoint, False
    if args.without_metrics:
        leave_out_ground_truth(cfg)
    check_data_paths(cfg, ('test',))
    if args.show or args.show_dir:
        enable_drawing(cfg, show=args.show, show_dir=args.show_dir, wait_time=args.wait_time)
    if args.tta:
        enable_tta(cfg)
    add_match_check(cfg, strict=True)
    start_distributed(cfg, args.launcher)
    for note in filter(None, [version_report(), *notes]):
        say(note)
    return cfg


def main() -> None:
    args = parse_args()
    cfg = prepare(args)
    with config_errors(cfg):
        runner = build_runner(cfg)
        if not args.checkpoint and runner.model.state_dict():
            raise ConfigError(f'{args.config}: its model has weights, so it cannot be tested with "none" for a '
                              'checkpoint. Give a checkpoint file.')
        if args.out:
            dump_predictions(runner, args.out)
        runner.test()
    places = [f'Log and metrics: {runner.log_dir}/']
    if args.show_dir:
        places.append(f'Pictures: {Path(runner.log_dir) / args.show_dir}/')
    if args.out:
        places.append(f'Predictions: {args.out}')
    runner.logger.info('Finished. ' + '  '.join(places))


if __name__ == '__main__':
    run_tool(main)
