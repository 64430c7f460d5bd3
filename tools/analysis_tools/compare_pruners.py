"""Compares pruners on one segmentation set: dense training, pruning to one budget by each, fine-tuning, several seeds.

The table holds mIoU of dense networks, of dense networks that are trained on (`none`), and of each pruner. All but the
first take the same number of steps on segmentation: pruners without a search are fine-tuned for as many
iterations more. Every step is a process of its own; started again, the command goes on where it stopped.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config
from tqdm import tqdm

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.runtime.atomic import write_atomic
from projects.runtime.command_line import run_tool
from projects.runtime.config_files import load_config
from projects.runtime.errors import ConfigError, UserError

TOOLS = Path(__file__).resolve().parents[1]
SEARCHED = dict(multi_task=[], seg_only=['model.cls_weight=0'], cls_only=['model.seg_weight=0'])
ONE_SHOT = ('taylor', 'bn_scale', 'l1', 'random', 'uniform')
PRUNERS = ('none', *SEARCHED, *ONE_SHOT)
TITLES = dict(
    dense='dense', none='dense, trained on', multi_task='multi-task scores', seg_only='segmentation only',
    cls_only='classification only', taylor='multi-task, Taylor', bn_scale='BN scale', l1='L1 norm', random='random',
    uniform='uniform ratio')
EPILOG = """
On CamVid at reduced size, about one CPU hour in all:

  python tools/analysis_tools/compare_pruners.py --jobs 2

Longer, on a GPU: twice the dense steps, twice the search (with half of the scores' learning rate), twice the rest

  python tools/analysis_tools/compare_pruners.py --jobs 18 --iters 600 100 200 \\
      --search-options optim_wrapper.score_optimizer.lr=0.01
"""


@dataclass
class Step:
    """One process, and the folder it writes to; `settings` must be the same for a finished one to count."""

    name: str
    folder: Path
    command: list[str]
    metric: bool = True

    @property
    def record(self) -> Path:
        """File that a finished step leaves."""
        return self.folder / 'step.json'

    def finished(self) -> dict | None:
        """What was recorded, or None.

        Raises:
            ConfigError: the folder holds a finished step with other settings.
        """
        if not self.record.is_file():
            return None
        content = json.loads(self.record.read_text(encoding='utf-8'))
        if content['command'] != self.command:
            raise ConfigError(f'{self.record}: written by {content["command"]}, but now asked for {self.command}. '
                              'Choose another --out or remove that folder')
        return content

    def run(self) -> dict:
        """Run unless finished, and return what was recorded.

        Raises:
            UserError: the process failed, or evaluated nothing.
        """
        content = self.finished()
        if content is not None:
            return content
        self.folder.mkdir(parents=True, exist_ok=True)
        log, start = self.folder / 'step.log', time.time()
        environment = {'OMP_NUM_THREADS': '1', 'OMP_WAIT_POLICY': 'PASSIVE', **os.environ}
        with open(log, 'w', encoding='utf-8') as output:
            code = subprocess.run([sys.executable, *self.command], stdout=output, stderr=subprocess.STDOUT,
                                  env=environment, check=False).returncode
        if code:
            tail = '\n'.join(log.read_text(encoding='utf-8', errors='replace').strip().splitlines()[-8:])
            raise UserError(f'{self.name}: ended with status {code}. End of {log}:\n{tail}\nStarted again, the '
                            'comparison goes on from here.')
        content = dict(command=self.command, seconds=round(time.time() - start, 1),
                       miou=last_miou(self.folder) if self.metric else None)
        write_atomic(self.record, json.dumps(content, indent=1))
        return content


def last_miou(folder: Path) -> float:
    """mIoU of the last evaluation in a work dir.

    Raises:
        UserError: there is none.
    """
    found = None
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in path.read_text(encoding='utf-8').splitlines():
            if line.endswith('}') and 'mIoU' in (record := json.loads(line)):
                found = record['mIoU']
    if found is None:
        raise UserError(f'{folder}: no mIoU was recorded. The config needs IoUMetric as val_evaluator')
    return found


class Plan:
    """The steps of a comparison.

    Args:
        args: the command line.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.out = args, args.out
        self.iters = {}
        for kind, path, wanted in zip(('dense', 'search', 'finetune'), (args.dense, args.search, args.finetune),
                                      args.iters or (None,) * 3, strict=True):
            self.iters[kind] = wanted or load_config(path).train_cfg.max_iters
        search = load_config(args.search)
        hooks = [hook for hook in search.get('custom_hooks', []) if hook['type'] == 'PruneHook']
        if len(hooks) != 1:
            raise ConfigError(f'{args.search}: expected one PruneHook in custom_hooks, found {len(hooks)}')
        self.size, self.floors = search.model.size, hooks[0].get('floors', {})
        self.control = self.out / 'dense_trained_on.py'
        if 'none' in args.pruners:
            self._write_control()

    def _write_control(self) -> None:
        """The config of dense networks that are trained on by the fine-tuning schedule."""
        cfg = Config.fromfile(self.args.finetune)
        cfg._cfg_dict['model'] = Config.fromfile(self.args.dense)._cfg_dict['model']
        write_atomic(self.control, cfg.pretty_text)

    def _train(self, iters: int, config: str | Path, name: str, seed: int, options: list[str], **kwargs) -> Step:
        folder, cfg = self.out / name / f'seed{seed}', load_config(config)
        own = [f'randomness.seed={seed}', f'train_cfg.max_iters={iters}', f'train_cfg.val_interval={iters}',
               f'default_hooks.checkpoint.interval={iters}']
        own += [f'param_scheduler.{index}.end={iters}' for index, schedule in enumerate(cfg.param_scheduler)
                if schedule.get('end') == cfg.train_cfg.max_iters]
        split = [f'val_dataloader.dataset.data_prefix.{key}={kind}/{self.args.split}'
                 for key, kind in (('img_path', 'images'), ('seg_map_path', 'labels'))]
        command = [str(TOOLS / 'train.py'), str(config), '--work-dir', str(folder), '--cfg-options', *own, *split,
                   *options, *self.args.cfg_options]
        return Step(f'{name}, seed {seed}', folder, command, **kwargs)

    def dense(self, seed: int) -> Step:
        """Training of the dense network."""
        return self._train(self.iters['dense'], self.args.dense, 'dense', seed, [])

    def chain(self, pruner: str, seed: int) -> list[Step]:
        """The steps from the dense checkpoint to the fine-tuned network; the last one is measured."""
        iters = self.iters['finetune']
        start = self.out / 'dense' / f'seed{seed}' / f'iter_{self.iters["dense"]}.pth'
        if pruner == 'none':
            return [self._train(iters + self.iters['search'], self.control, 'none', seed, [f'load_from={start}'])]
        if pruner in SEARCHED:
            options = [f'load_from={start}', f'custom_hooks.0.target={self.args.target}',
                       'val_dataloader.dataset.indices=1', *SEARCHED[pruner], *self.args.search_options]
            first = self._train(self.iters['search'], self.args.search, f'{pruner}_search', seed, options, metric=False)
            stem = first.folder / 'pruned'
        else:
            folder = self.out / f'{pruner}_pruned' / f'seed{seed}'
            floors = [part for key, value in self.floors.items() for part in (f'--{key.replace("_", "-")}', str(value))]
            first = Step(f'{pruner}, seed {seed}', folder, [
                str(TOOLS / 'analysis_tools' / 'prune.py'), self.args.dense, str(start), '--method', pruner, '--target',
                str(self.args.target), '--size', *map(str, self.size), '--seed', str(seed), '--out-dir', str(folder),
                '--name', 'pruned', *floors, *(['--cfg-options', *self.args.cfg_options] * bool(self.args.cfg_options)),
            ], metric=False)
            stem, iters = folder / 'pruned', iters + self.iters['search']
        options = [f'load_from={stem}.pth', f'model.structure={stem}.json']
        return [first, self._train(iters, self.args.finetune, pruner, seed, options)]


def run_chain(steps: list[Step]) -> float:
    """Run steps one after the other; the mIoU of the last."""
    return [step.run() for step in steps][-1]['miou']


def run_all(chains: dict[tuple[str, int], list[Step]], jobs: int, title: str) -> dict[tuple[str, int], float]:
    """mIoU of every chain; `jobs` run at a time."""
    found = {}
    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(chains), desc=title) as bar:
        waiting = {pool.submit(run_chain, steps): key for key, steps in chains.items()}
        try:
            for future in as_completed(waiting):
                key = waiting[future]
                found[key] = future.result()
                bar.update()
                bar.set_postfix_str(f'{key[0]}, seed {key[1]}: mIoU {found[key]:.2f}')
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def macs_ratio(plan: Plan, pruner: str, seed: int) -> float | None:
    """Share of multiply-adds that a pruner left."""
    if pruner in ('dense', 'none'):
        return 1.0
    folder = plan.chain(pruner, seed)[0].folder
    return json.loads((folder / 'pruned_report.json').read_text(encoding='utf-8'))['macs_ratio']


def rows_of(plan: Plan, found: dict[tuple[str, int], float], seeds: list[int]) -> list[dict]:
    """One row a pruner: mean, sample standard deviation, single values, share of multiply-adds."""
    rows = []
    for name in dict.fromkeys(name for name, _ in found):
        values = [found[name, seed] for seed in seeds]
        ratios = [macs_ratio(plan, name, seed) for seed in seeds]
        rows.append(dict(pruner=name, title=TITLES[name], mean=statistics.fmean(values),
                         std=statistics.stdev(values) if len(values) > 1 else None,
                         values=dict(zip(map(str, seeds), values, strict=True)), macs_ratio=statistics.fmean(ratios)))
    return rows


def markdown(rows: list[dict], seeds: list[int]) -> str:
    """The rows as a table."""
    lines = [f'| pruner | multiply-adds | mIoU, mean | standard deviation | {" | ".join(f"seed {s}" for s in seeds)} |',
             '| --- ' * (4 + len(seeds)) + '|']
    for row in rows:
        std = 'one run' if row['std'] is None else f'{row["std"]:.2f}'
        values = ' | '.join(f'{value:.2f}' for value in row['values'].values())
        lines.append(f'| {row["title"]} | {row["macs_ratio"]:.1%} | {row["mean"]:.2f} | {std} | {values} |')
    return '\n'.join(lines) + '\n'


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--dense', default='configs/deeplabv3_r18_camvid.py', help='default: %(default)s')
    parser.add_argument('--search', default='configs/mtp_deeplabv3_r18_camvid.py', help='default: %(default)s')
    parser.add_argument('--finetune', default='configs/mtp_deeplabv3_r18_finetune_camvid.py',
                        help='default: %(default)s')
    parser.add_argument('--pruners', nargs='+', choices=PRUNERS, metavar='PRUNER',
                        default=[name for name in PRUNERS if name != 'taylor'],
                        help=f'of {", ".join(PRUNERS)} (default: all but taylor)')
    parser.add_argument('--target', type=float, default=0.5, help='share of multiply-adds left (default: 0.5)')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='default: 0 1 2')
    parser.add_argument('--split', default='test', help='folder of the images to measure on (default: test)')
    parser.add_argument('--iters', type=int, nargs=3, metavar=('DENSE', 'SEARCH', 'FINETUNE'),
                        help='iterations, instead of those of the configs')
    parser.add_argument('--jobs', type=int, default=1, help='processes at a time, each with one thread (default: 1)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/compare_pruners'), help='default: %(default)s')
    parser.add_argument('--search-options', nargs='+', default=[], metavar='KEY=VALUE', help='for the searches alone')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='for every training')
    args = parser.parse_args(argv)
    if len(set(args.seeds)) != len(args.seeds):
        parser.error(f'--seeds {args.seeds}: expected distinct numbers')
    return args


def main(argv=None) -> None:
    args = parse_args(argv)
    plan = Plan(args)
    found = run_all({('dense', seed): [plan.dense(seed)] for seed in args.seeds}, args.jobs, 'dense')
    chains = {(name, seed): plan.chain(name, seed) for seed in args.seeds for name in args.pruners}
    found |= run_all(chains, args.jobs, 'prune and fine-tune')
    ordered = {(name, seed): found[name, seed] for name in ('dense', *args.pruners) for seed in args.seeds}
    rows = rows_of(plan, ordered, args.seeds)
    text = markdown(rows, args.seeds)
    write_atomic(args.out / 'table.json', json.dumps(dict(
        iters=plan.iters, target=args.target, split=args.split, seeds=args.seeds, rows=rows), indent=1))
    write_atomic(args.out / 'table.md', text)
    print(f'mIoU on {args.split}\n\n{text}\nWritten to {args.out}/table.md and table.json')


if __name__ == '__main__':
    run_tool(main)
