"""Metrics of a run: which of them count first, the last value and the best one."""

import math
import re
from dataclasses import dataclass

Record = dict[str, float]

_COUNTERS = ('iter', 'epoch', 'step', 'lr', 'base_lr', 'momentum', 'time', 'data_time', 'memory', 'grad_norm')
_SMALL_IS_GOOD = re.compile(r'loss|error|rmse|\bmae|lpips|niqe|\bfid|abs_rel', re.I)


@dataclass(frozen=True)
class Metric:
    """A metric over the evaluations of a run: values at steps (epochs or iterations), oldest first."""

    name: str
    steps: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def final(self) -> float:
        """The last evaluation's value."""
        return self.values[-1]

    @property
    def best(self) -> tuple[float, float]:
        """The best finite value and its step; the last value where none is finite."""
        finite = [(value, step) for value, step in zip(self.values, self.steps, strict=True) if math.isfinite(value)]
        if not finite:
            return self.values[-1], self.steps[-1]
        return (min if small_is_good(self.name) else max)(finite, key=lambda item: item[0])


def small_is_good(name: str) -> bool:
    """Whether a metric's name speaks of an error; all others are taken to be better when larger."""
    return _SMALL_IS_GOOD.search(name) is not None


def is_metric(name: str, value: object) -> bool:
    """Whether an entry of a record is a figure of merit rather than a counter or a clock."""
    return name not in _COUNTERS and isinstance(value, (int, float)) and not isinstance(value, bool)


def validation_metrics(records: list[Record]) -> list[Metric]:
    """Metrics of the evaluations during training; those that are always -1, COCO's "none", are left out."""
    names = dict.fromkeys(name for record in records for name, value in record.items() if is_metric(name, value))
    metrics = []
    for name in names:
        points = [(record['step'], record[name]) for record in records if name in record]
        if any(value != -1 for _, value in points):
            steps, values = zip(*points, strict=True)
            metrics.append(Metric(name, steps, values))
    return metrics


def training_series(records: list[Record]) -> list[Metric]:
    """Losses and other figures of training over iterations, the total loss first."""
    names = dict.fromkeys(name for record in records for name, value in record.items() if is_metric(name, value))
    ordered = sorted(names, key=lambda name: (name != 'loss', 'loss' not in name))
    return [Metric(name, *zip(*((item['iter'], item[name]) for item in records if name in item), strict=True))
            for name in ordered]


def number(value: float) -> str:
    """A figure with about four significant digits, without exponent where that is readable."""
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e15):
        return f'{int(value):,}'
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    return f'{value:.3e}' if size < 1e-3 else f'{value:.4f}' if size < 10 else f'{value:,.2f}'
