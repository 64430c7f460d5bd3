"""Trains variants over several seeds and tabulates a metric's mean and spread.

Each variant is a config, or `NAME=CONFIG KEY=VALUE ...` in quotes, with options as after --cfg-options. Runs are
separate processes of tools/train.py, one after the other. Started again, the command skips what is finished and resumes
what is not.
"""

import argparse
import hashlib
import json
import re
import shlex
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
sys.path.append(str(Path(__file__).resolve().parent))

from mmengine.config import Config
from plot_curves import read_scalars

from projects.runtime.atomic import write_atomic
from projects.runtime.command_line import run_tool
from projects.runtime.errors import ConfigError, UserError

NOT_METRICS = ('step', 'epoch', 'iter', 'time', 'data_time', 'memory')
TRAIN = Path(__file__).resolve().parents[1] / 'train.py'
EPILOG = """
Distillation on BCCD, a teacher and five students of three seeds each:

  python tools/analysis_tools/compare_runs.py --first configs/retinanet_r34_bccd.py \\
      "student alone=configs/retinanet_r18_bccd.py" "both=configs/defeat_retinanet_r34_r18_bccd.py" \\
      "object only=configs/defeat_retinanet_r34_r18_bccd.py model.defeat.neck.alpha_bg=0" \\
      --seeds 0 1 2 --out work_dirs/compare_bccd
"""


@dataclass
class Variant:
    """A named config with options."""

    name: str
    config: str
    options: list[str] = field(default_factory=list)

    @classmethod
    def parse(cls, text: str) -> 'Variant':
        """`CONFIG`, `NAME=CONFIG` or either with `KEY=VALUE`s behind it.

        Raises:
            ConfigError: no such config file, or an option without '='.
        """
        # the first word that ends in .py is the config: options may name other configs
        match = re.match(r'(?:(?P<name>(?:(?!\.py\s)[^=])+)=)?(?P<config>[^\s=]+\.py)(?P<options>(?:\s.*)?)$',
                         text.strip())
        if match is None or not Path(match['config']).is_file():
            raise ConfigError(f'{text!r}: expected CONFIG or "NAME=CONFIG KEY=VALUE ...", where CONFIG is a .py file '
                              'that exists')
        options = shlex.split(match['options'])
        if wrong := [option for option in options if '=' not in option]:
            raise ConfigError(f'{text!r}: {wrong[0]!r} is no KEY=VALUE')
        return cls((match['name'] or Path(match['config']).stem).strip(), match['config'], options)

    @cached_property
    def digest(self) -> str:
        """Fingerprint of the config with its bases, so that a later edit is noticed."""
        content = Config.fromfile(self.config, import_custom_modules=False).to_dict()
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]

    @property
    def folder(self) -> str:
        """The name as a folder's name."""
        return re.sub(r'\W+', '_', self.name)


@dataclass
class Run:
    """One training."""

    variant: Variant
    seed: int
    work_dir: Path

    @property
    def record(self) -> Path:
        """File with the settings of the run, and with its metrics once it is finished."""
        return self.work_dir / 'compare_run.json'

    @property
    def settings(self) -> dict:
        """What must be the same for a run to count, or to be resumed."""
        return dict(config=self.variant.config, options=self.variant.options, seed=self.seed,
                    digest=self.variant.digest)

    def finished(self) -> dict | None:
        """Metrics and seconds of the finished run, or None.

        Raises:
            ConfigError: the folder holds a run with other settings, finished or to be resumed.
        """
        if not self.record.is_file():
            return None
        content = json.loads(self.record.read_text(encoding='utf-8'))
        former = content['settings']  # without a digest in records of earlier versions
        differing = [key for key, value in self.settings.items() if former.get(key, value) != value]
        if differing and ('metrics' in content or (self.work_dir / 'last_checkpoint').is_file()):
            edited = ' The config or one of its bases was edited since.' if differing == ['digest'] else ''
            raise ConfigError(f'{self.record}: written with {former}, but now asked for {self.settings}.{edited} '
                              'Choose another --out or remove that folder')
        return content if 'metrics' in content else None

    def train(self) -> dict:
        """Train, or resume, and return what `finished` does.

        Raises:
            UserError: the process failed, or recorded no metric.
        """
        self.work_dir.mkdir(parents=True, exist_ok=True)
        write_atomic(self.record, json.dumps(dict(settings=self.settings), indent=2))
        log, start = self.work_dir / 'compare_run.log', time.time()
        command = [sys.executable, str(TRAIN), self.variant.config, '--work-dir', str(self.work_dir), '--resume',
                   '--cfg-options', f'randomness.seed={self.seed}', *self.variant.options]
        with open(log, 'a', encoding='utf-8') as output:
            code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
        if code:
            tail = log.read_text(encoding='utf-8', errors='replace').strip().splitlines()[-8:]
            raise UserError(f'{self.variant.name}, seed {self.seed}: training ended with status {code}. End of {log}:\n'
                            + '\n'.join(tail) + '\nStarted again, the comparison goes on from here.')
        content = dict(settings=self.settings, metrics=last_metrics(self.work_dir), seconds=round(time.time() - start))
        write_atomic(self.record, json.dumps(content, indent=2))
        return content


def last_metrics(work_dir: Path) -> dict[str, float]:
    """Metrics of the last evaluation that any session of a run recorded.

    Raises:
        UserError: there is none.
    """
    last = {}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for record in read_scalars(path)[1]:
            last = {key: value for key, value in record.items() if key not in NOT_METRICS} or last
    if not last:
        raise UserError(f'{work_dir}: no evaluation was recorded. The config needs a val_evaluator, and '
                        'train_cfg.val_interval at most its number of epochs')
    return last


def choose_metric(results: list[dict], wanted: str | None) -> str:
    """The metric to compare: `wanted`, else the first one recorded.

    Raises:
        ConfigError: not all runs recorded it.
    """
    metric = wanted or next(iter(results[0]['metrics']))
    for result in results:
        if metric not in result['metrics']:
            raise ConfigError(f'--metric {metric}: recorded were {", ".join(result["metrics"])} '
                              f'({result["settings"]["config"]})')
    return metric


def summary(results: dict[str, list[dict]], metric: str) -> list[dict]:
    """Mean, sample standard deviation and single values of every variant."""
    rows = []
    for name, runs in results.items():
        values = [run['metrics'][metric] for run in runs]
        rows.append(dict(
            variant=name, mean=statistics.fmean(values), std=statistics.stdev(values) if len(values) > 1 else None,
            values={str(run['settings']['seed']): run['metrics'][metric] for run in runs},
            metrics=[run['metrics'] for run in runs], seconds=[run['seconds'] for run in runs],
            settings={key: runs[0]['settings'][key] for key in ('config', 'options')}))
    return rows


def table(rows: list[dict], metric: str, seeds: list[int]) -> str:
    """The summary as a markdown table."""
    lines = [f'| variant | {metric}, mean | standard deviation | {" | ".join(f"seed {seed}" for seed in seeds)} |',
             '| --- ' * (3 + len(seeds)) + '|']
    for row in rows:
        std = 'one run' if row['std'] is None else f'{row["std"]:.4f}'
        values = ' | '.join(f'{row["values"][str(seed)]:.4f}' for seed in seeds)
        lines.append(f'| {row["variant"]} | {row["mean"]:.4f} | {std} | {values} |')
    return '\n'.join(lines) + '\n'


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('variants', nargs='+', metavar='VARIANT', help='CONFIG or "NAME=CONFIG KEY=VALUE ..."')
    parser.add_argument('--first', metavar='CONFIG', action='append', default=[],
                        help='train this once before, with seed 0, into work_dirs/CONFIG_NAME: a teacher')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='default: 0 1 2')
    parser.add_argument('--metric', help='for example pascal_voc/mAP; default: the first one recorded')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/comparison'),
                        help='folder for the runs and for table.md and table.json (default: %(default)s)')
    args = parser.parse_args(argv)
    if len(set(args.seeds)) != len(args.seeds):
        parser.error(f'--seeds {args.seeds}: expected distinct numbers')
    return args


def plan(args: argparse.Namespace) -> tuple[list[Run], dict[str, list[Run]]]:
    """The runs that come first, and those of every variant, in the order of their training: seed by seed.

    Raises:
        ConfigError: a variant that does not parse, or two of one name.
    """
    first = [Run(variant, 0, Path('work_dirs') / variant.folder) for variant in map(Variant.parse, args.first)]
    variants = [Variant.parse(text) for text in args.variants]
    folders = [variant.folder for variant in variants]
    if len(set(folders)) != len(folders):
        raise ConfigError(f'two variants of one name among {[variant.name for variant in variants]}: give them names, '
                          '"NAME=CONFIG ..."')
    return first, {variant.name: [Run(variant, seed, args.out / variant.folder / f'seed{seed}')
                                  for seed in args.seeds] for variant in variants}


def complete(runs: list[Run]) -> None:
    """Train what is not finished, with a line for each run."""
    for number, run in enumerate(runs, 1):
        label = f'[{number}/{len(runs)}] {run.variant.name}, seed {run.seed}'
        content = run.finished()
        if content is None:
            print(f'{label}: training in {run.work_dir}/', flush=True)
            content = run.train()
        shown = ', '.join(f'{key} {value:.4g}' for key, value in list(content['metrics'].items())[:2])
        print(f'{label}: {shown} ({content["seconds"]} s)', flush=True)


def main(argv=None) -> None:
    args = parse_args(argv)
    first, variants = plan(args)
    by_seed = [runs[index] for index in range(len(args.seeds)) for runs in variants.values()]
    complete([*first, *by_seed])
    results = {name: [run.finished() for run in runs] for name, runs in variants.items()}
    metric = choose_metric([item for runs in results.values() for item in runs], args.metric)
    rows = summary(results, metric)
    teachers = [dict(config=run.variant.config, metrics=run.finished()['metrics']) for run in first]
    text = table(rows, metric, args.seeds)
    write_atomic(args.out / 'table.json', json.dumps(dict(
        metric=metric, seeds=args.seeds, first=teachers, variants=rows), indent=2))
    write_atomic(args.out / 'table.md', text)
    print(text + f'Written to {args.out}/table.md and table.json')


if __name__ == '__main__':
    run_tool(main)
