"""Read a config's data whole, before training does: `python tools/analysis_tools/check_data.py CONFIG`.

Counts classes and sizes, and names every broken file, box, label and pair, going on behind each: missing, empty and
truncated images, boxes without area, outside their image or not finite, unknown classes, labels outside the classes,
masks of another size than their image, missing partners and depth maps, pairs that do not fit the scale, points that
are not finite. All data of the suite: COCO and VOC detection, segmentation with and without depth, restoration, 3D
points.

  python tools/analysis_tools/check_data.py configs/adder_fcos_r50.py
  python tools/analysis_tools/check_data.py configs/adder_fcos_r50_voc.py \\
      --cfg-options data_root=/my/voc/ classes=cat,dog
  python tools/analysis_tools/check_data.py configs/edsr_baseline_x2.py --split train --workers 8

Written to OUT: summary.md, summary.json (all problems) and worst_*.png, pictures of the samples with most problems. The
exit status is 1 if anything is broken, 0 if nothing is.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from mmengine.config import Config, DictAction
from tqdm import tqdm

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.data_checks import Findings, check_samples, check_start, list_samples
from projects.data_checks.pictures import draw_worst
from projects.data_checks.summary import text_of
from projects.runtime.atomic import write_atomic
from projects.runtime.command_line import CFG_OPTIONS_HELP, parse, run_tool
from projects.runtime.config_files import check_scope, load_config
from projects.runtime.data_options import apply_data_options
from projects.runtime.dataset_configs import SPLITS, DatasetEntry, split_datasets
from projects.runtime.errors import ConfigError

WORST = 9
"""Samples on a sheet of the worst."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--split', nargs='+', choices=SPLITS, default=['train', 'val'],
                        help='which of the data loaders (default: train val)')
    parser.add_argument('-o', '--out', type=Path,
                        help='folder for the results (default: work_dirs/data_check/CONFIG_NAME)')
    parser.add_argument('--workers', type=int, default=min(8, os.cpu_count() or 1),
                        help='reading processes; 0: none but this one (default: %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help=CFG_OPTIONS_HELP)
    parser.set_defaults(local_rank=0)
    return parse(parser, argv)


def entries_of(cfg: Config, splits: list[str]) -> list[DatasetEntry]:
    """The data sets of `splits`, each once: val and test are often the same.

    Raises:
        ConfigError: there is none, or one is not on this machine.
    """
    found: list[DatasetEntry] = []
    for entry in split_datasets(cfg, tuple(splits)):
        if not entry.is_local:
            raise ConfigError(f'{cfg.filename}: {entry.key} lies on a remote storage; only local files are checked.')
        if entry.cfg not in [other.cfg for other in found]:
            found.append(entry)
    if not found:
        raise ConfigError(f'{cfg.filename}: no data set in {", ".join(f"{split}_dataloader" for split in splits)}.')
    return found


def check(cfg: Config, entry: DatasetEntry, workers: int) -> Findings:
    """List and read one data set, with a progress bar."""
    findings = list_samples(cfg, entry)
    total = len(findings.samples)
    progress = check_samples(findings, cfg.default_scope, entry.cfg.get('pipeline') or [], min(workers, total))
    for _ in tqdm(progress, total=total, desc=entry.key, unit='sample', mininterval=0.5):
        pass
    check_start(entry, findings)
    return findings


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    check_scope(cfg)
    apply_data_options(cfg, args.cfg_options)
    out = args.out or Path('work_dirs/data_check') / Path(args.config).stem
    results, texts = [], []
    for index, entry in enumerate(entries_of(cfg, args.split)):
        findings = check(cfg, entry, args.workers)
        results.append(findings.summary())
        texts.append(text_of(results[-1]))
        print(texts[-1], flush=True)
        if worst := findings.worst(WORST):
            draw_worst(worst, out / f'worst_{index}.png')
    count = sum(len(result['problems']) for result in results)
    write_atomic(out / 'summary.json', json.dumps(
        dict(config=args.config, problems=count, data_sets=results), indent=1, default=str))
    write_atomic(out / 'summary.md', f'# Data of {args.config}\n\n' + '\n'.join(texts))
    print(f'{count:,} problems in {sum(result["samples"] for result in results):,} samples. All of them: '
          f'{out}/summary.json')
    if count:
        sys.exit(1)


if __name__ == '__main__':
    run_tool(main)
