"""Draws the losses and metrics of a run, or of several runs in one picture.

Reads the `vis_data/scalars.json` files that mmengine writes into WORK_DIR/TIME/. The newest run of each folder is
drawn; runs that it was resumed from are joined in front of it.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
import numpy as np

from projects.runtime.atomic import atomic_file
from projects.runtime.command_line import run_tool
from projects.runtime.errors import DataError

Record = dict[str, float]

_COUNTERS = ('iter', 'epoch', 'step', 'lr', 'base_lr', 'momentum', 'time', 'data_time', 'memory',
             'grad_norm')
EPILOG = """
One run, all its losses and metrics, into work_dirs/dyfpn_fcos_r50/curves.png:

  python tools/analysis_tools/plot_curves.py work_dirs/dyfpn_fcos_r50

Two runs, a line each, total loss and two metrics:

  python tools/analysis_tools/plot_curves.py work_dirs/fcos_r50 dynamic=work_dirs/dyfpn_fcos_r50 \\
      --metrics coco/bbox_mAP coco/bbox_mAP_s --out curves.png
"""


def read_scalars(path: Path) -> tuple[list[Record], list[Record]]:
    """Training and validation records of one file; a last line cut off by a kill is left out.

    A record is of validation if it has no loss.
    """
    training, validation = [], []
    for line in path.read_text(encoding='utf-8').splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if any('loss' in key for key in record) and 'iter' in record:
            training.append(record)
        elif 'step' in record:
            validation.append(record)
    return training, validation


def join_runs(runs: list[tuple[list[Record], list[Record]]]
              ) -> tuple[list[Record], list[Record]]:
    """Join the last run with the ones it goes on from, oldest first.

    A run that does not begin at the first iteration was resumed: it replaces what the earlier runs
    recorded from its first iteration on. A run from the beginning discards all before it.
    """
    training: list[Record] = []
    validation: list[Record] = []
    last = 0.0
    for new_training, new_validation in runs:
        if not new_training:
            continue
        first = new_training[0]['iter']
        logged = new_training if len(new_training) > 1 else training
        interval = logged[1]['iter'] - logged[0]['iter'] if len(logged) > 1 else first
        if first <= interval and first <= last:
            training, validation = [], []
        # mmengine counts the epochs of an iteration-based run as well unless told otherwise: all of them are 0
        done = {record['step'] for record in new_validation if record['step']}
        training = [item for item in training if item['iter'] < first] + new_training
        validation = [item for item in validation if item['step'] not in done] + new_validation
        last = training[-1]['iter']
    return training, validation


def read_runs(work_dir: Path) -> tuple[list[Record], list[Record]]:
    """Training and validation records of the newest run in `work_dir`, resumed parts joined.

    Raises:
        DataError: there are none.
    """
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    if not files and (work_dir / 'vis_data' / 'scalars.json').is_file():
        files = [work_dir / 'vis_data' / 'scalars.json']
    training, validation = join_runs([read_scalars(file) for file in files])
    if not training:
        reason = (f'{len(files)} scalars.json without losses' if files
                  else 'no TIME/vis_data/scalars.json')
        raise DataError(f'{work_dir}: no training log: {reason}. Expected the --work-dir of a '
                        'training run that got past its first log line.')
    return training, validation


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """Running mean of the last `window` values, of fewer at the start."""
    sums = np.cumsum(np.insert(values, 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return (sums[ends] - sums[starts]) / (ends - starts)


def _series(records: list[Record], name: str, position: str) -> tuple[np.ndarray, np.ndarray]:
    points = [(record[position], record[name]) for record in records if name in record]
    return tuple(np.array(points, dtype=float).reshape(-1, 2).T)


def loss_names(training: list[Record]) -> list[str]:
    """Names of the losses; first their sum `loss`, which a run with several optimisers does not have."""
    return sorted({key for record in training for key in record if 'loss' in key},
                  key=lambda name: (name != 'loss', name))


def draw_losses(axes, training: list[Record]) -> None:
    """Each loss over iterations: its values faintly, their running mean as a line."""
    for name in loss_names(training):
        steps, values = _series(training, name, 'iter')
        [line] = axes.plot(steps, smoothed(values, max(1, len(values) // 20)), label=name)
        axes.plot(steps, values, color=line.get_color(), alpha=0.25, linewidth=0.8)
    axes.set(xlabel='iteration', ylabel='loss', title='Training')
    axes.legend()


def metric_names(validation: list[Record]) -> list[str]:
    """Names of the metrics, except those that are always -1, COCO's "none"."""
    return [key for key in validation[0] if key not in _COUNTERS
            and any(record.get(key, -1) >= 0 for record in validation)] if validation else []


def draw_metrics(axes, validation: list[Record], names: list[str]) -> None:
    """Each metric over epochs (or iterations)."""
    for name in names:
        steps, values = _series(validation, name, 'step')
        axes.plot(steps, values, marker='.', label=name)
    axes.set(xlabel='epoch or iteration', ylabel='metric', title='Validation')
    axes.legend(fontsize='small')


def draw_runs(panels, runs: dict[str, tuple[list[Record], list[Record]]], metrics: list[str]) -> None:
    """The total loss, then each metric, with a line for each run."""
    for name, (training, validation) in runs.items():
        loss = next(iter(loss_names(training)), 'loss')
        steps, values = _series(training, loss, 'iter')
        label = name if loss == 'loss' else f'{name}: {loss}'
        panels[0].plot(steps, smoothed(values, max(1, len(values) // 20)), label=label)
        for axes, metric in zip(panels[1:], metrics, strict=True):
            points = [record for record in validation if metric in record]
            if points:
                axes.plot(*_series(points, metric, 'step'), marker='.', label=name)
    panels[0].set(xlabel='iteration', ylabel='loss', title='Training')
    for axes, metric in zip(panels[1:], metrics, strict=True):
        axes.set(xlabel='epoch or iteration', ylabel=metric, title='Validation')
    for axes in panels:
        axes.legend(fontsize='small')


def draw(runs: dict[str, tuple[list[Record], list[Record]]], metrics: list[str], out: Path) -> None:
    """Write a PNG: of one run all losses and the metrics, of several the total loss and a panel for each metric."""
    count = 1 + (len(metrics) if len(runs) > 1 else bool(metrics))
    figure, axes = plt.subplots(1, count, figsize=(6.4 * count, 4.8), squeeze=False, layout='constrained')
    if len(runs) > 1:
        draw_runs(axes[0], runs, metrics)
    else:
        [(training, validation)] = runs.values()
        draw_losses(axes[0, 0], training)
        if metrics:
            draw_metrics(axes[0, 1], validation, metrics)
    for part in axes.flat:
        part.grid(alpha=0.3)
    with atomic_file(out) as file:
        figure.savefig(file, format='png', dpi=120)
    plt.close(figure)


def read_named(arguments: list[str]) -> dict[str, tuple[list[Record], list[Record]]]:
    """The runs of `WORK_DIR` and `NAME=WORK_DIR`, by name; without a name by the folder's.

    Raises:
        DataError: no log, or two runs of one name.
    """
    runs = {}
    for argument in arguments:
        given, _, folder = argument.rpartition('=')
        name = given or Path(folder).resolve().name
        if name in runs:
            raise DataError(f'{argument}: there is another run called {name!r}. Expected distinct names; give one with '
                            'NAME=WORK_DIR')
        runs[name] = read_runs(Path(folder))
    return runs


def choose_metrics(runs: dict[str, tuple[list[Record], list[Record]]], wanted: list[str] | None) -> list[str]:
    """The metrics to draw: those wanted, else all of a single run, or the first that several runs share.

    Raises:
        DataError: a wanted metric is in no run.
    """
    found = [metric_names(validation) for _, validation in runs.values()]
    known = list(dict.fromkeys(name for names in found for name in names))
    if wanted:
        if missing := [name for name in wanted if name not in known]:
            raise DataError(f'--metrics {missing[0]}: no run recorded it. Recorded were: {", ".join(known) or "none"}')
        return wanted
    shared = [name for name in known if all(name in names for names in found)]
    return shared if len(runs) == 1 else shared[:1]


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR',
                        help='work dir of a run; NAME=WORK_DIR sets the name in the legend')
    parser.add_argument('--metrics', nargs='+', metavar='KEY', help='metrics to draw, for example coco/bbox_mAP '
                        '(default: all of one run; of several the first that all have)')
    parser.add_argument('--out', type=Path,
                        help='PNG file (default: WORK_DIR/curves.png, of several runs ./curves.png)')
    return parser.parse_args(argv)


def main(argv=None) -> None:
    args = parse_args(argv)
    runs = read_named(args.work_dirs)
    single = Path(args.work_dirs[0].rpartition('=')[2]) if len(runs) == 1 else Path()
    out = args.out or single / 'curves.png'
    draw(runs, choose_metrics(runs, args.metrics), out)
    for name, (training, validation) in runs.items():
        print(f'{name}: {len(training)} training and {len(validation)} validation records')
    print(f'Written to {out}')


if __name__ == '__main__':
    run_tool(main)
