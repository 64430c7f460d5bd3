"""Draw a run's losses and metrics: `python tools/analysis_tools/plot_curves.py WORK_DIR`.

Reads the `vis_data/scalars.json` files that mmengine writes into WORK_DIR/TIME/. The newest run is
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
        interval = new_training[1]['iter'] - first if len(new_training) > 1 else first
        if first <= interval and first <= last:
            training, validation = [], []
        done = {record['step'] for record in new_validation}
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
    return tuple(np.array(points, dtype=float).T)


def draw_losses(axes, training: list[Record]) -> None:
    """Each loss over iterations: its values faintly, their running mean as a line."""
    names = sorted({key for record in training for key in record if 'loss' in key},
                   key=lambda name: (name != 'loss', name))
    for name in names:
        steps, values = _series(training, name, 'iter')
        [line] = axes.plot(steps, smoothed(values, max(1, len(values) // 20)), label=name)
        axes.plot(steps, values, color=line.get_color(), alpha=0.25, linewidth=0.8)
    axes.set(xlabel='iteration', ylabel='loss', title='Training')
    axes.legend()


def draw_metrics(axes, validation: list[Record]) -> None:
    """Each metric over epochs (or iterations), except those that are always -1, COCO's "none"."""
    names = [key for key in validation[0] if key not in _COUNTERS
             and any(record.get(key, -1) >= 0 for record in validation)]
    for name in names:
        steps, values = _series(validation, name, 'step')
        axes.plot(steps, values, marker='.', label=name)
    axes.set(xlabel='epoch or iteration', ylabel='metric', title='Validation')
    axes.legend(fontsize='small')


def draw(training: list[Record], validation: list[Record], out: Path) -> None:
    """Write a PNG with the losses and, if the run was validated, the metrics."""
    count = 2 if validation else 1
    figure, axes = plt.subplots(1, count, figsize=(6.4 * count, 4.8), squeeze=False,
                                layout='constrained')
    draw_losses(axes[0, 0], training)
    if validation:
        draw_metrics(axes[0, 1], validation)
    for part in axes.flat:
        part.grid(alpha=0.3)
    with atomic_file(out) as file:
        figure.savefig(file, format='png', dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description='Draw the losses and metrics of a training run.')
    parser.add_argument('work_dir', type=Path, help='work dir of the run')
    parser.add_argument('--out', type=Path, help='PNG file (default: WORK_DIR/curves.png)')
    args = parser.parse_args()
    training, validation = read_runs(args.work_dir)
    out = args.out or args.work_dir / 'curves.png'
    draw(training, validation, out)
    print(f'{len(training)} training and {len(validation)} validation records: {out}')


if __name__ == '__main__':
    run_tool(main)
