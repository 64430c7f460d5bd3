"""Line charts as inline SVG, several runs in one; colours come from the page's style sheet, light or dark."""

import math
from dataclasses import dataclass
from html import escape

from .metrics import Metric, number

WIDTH, HEIGHT = 380, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 12, 36
POINTS = 160
"""Most points of a line; longer series are averaged in equal pieces."""
COLOURS = 8
_DASHES = ('', '7 3', '2 3', '9 3 2 3')


@dataclass(frozen=True)
class Line:
    """A run's curve in a chart: `index` is the run's place in the report and sets colour and dashes."""

    index: int
    label: str
    metric: Metric


def style_of(index: int) -> str:
    """Attributes of a run's line; beyond eight runs the colours come again with other dashes."""
    dash = _DASHES[index // COLOURS % len(_DASHES)]
    return f'class="line c{index % COLOURS}"' + (f' stroke-dasharray="{dash}"' if dash else '')


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (1, 2, 5 times a power of ten) within [low, high], about `count` of them."""
    if high <= low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((power * factor for factor in (1, 2, 5) if power * factor >= rough), power * 10)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def tick_label(value: float) -> str:
    """A tick's number without needless zeros."""
    text = f'{value:.6g}'
    return '0' if float(text) == 0 else text


def thinned(metric: Metric) -> list[tuple[float, float]]:
    """Finite points of a series, at most `POINTS`, each the mean of an equal piece."""
    points = [(float(step), float(value)) for step, value in zip(metric.steps, metric.values, strict=True)
              if math.isfinite(value)]
    if len(points) <= POINTS:
        return points
    edges = [round(index * len(points) / POINTS) for index in range(POINTS + 1)]
    pieces = [points[start:end] for start, end in zip(edges, edges[1:], strict=False)]
    return [tuple(sum(column) / len(piece) for column in zip(*piece, strict=True)) for piece in pieces]


def _range(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.04 * (high - low) or abs(high) * 0.1 or 1.0
    return low - room, high + room


def _axes(x_range: tuple[float, float], y_range: tuple[float, float], place, unit: str) -> list[str]:
    parts = []
    for value in ticks(*y_range):
        y = place(x_range[0], value)[1]
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
                     f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick_label(value)}</text>')
    for value in ticks(*x_range):
        x = place(value, y_range[0])[0]
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{tick_label(value)}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>'
                 f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 5}" text-anchor="middle">{escape(unit)}</text>')
    return parts


def _spoken(line: Line) -> str:
    metric = line.metric
    return (f'{line.label}: from {number(metric.values[0])} at {number(metric.steps[0])} to {number(metric.final)} at '
            f'{number(metric.steps[-1])}')


def chart(lines: list[Line], name: str, unit: str) -> str:
    """An SVG of all `lines` over `unit`s, with a description for those who cannot see it."""
    series = [(line, points) for line in lines if (points := thinned(line.metric))]
    if not series:
        return f'<p>No finite value of {escape(name)}.</p>'
    xs, ys = zip(*(point for _, points in series for point in points), strict=True)
    x_range = (min(xs), max(xs)) if max(xs) > min(xs) else _range(list(xs))
    y_range = _range(list(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        return (LEFT + (x - x_range[0]) / (x_range[1] - x_range[0]) * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - (y - y_range[0]) / (y_range[1] - y_range[0]) * (HEIGHT - TOP - BOTTOM))

    parts = _axes(x_range, y_range, place, unit)
    for line, points in series:
        spots = [place(x, y) for x, y in points]
        path = 'M' + 'L'.join(f'{x:.1f} {y:.1f}' for x, y in spots)
        parts.append(f'<path {style_of(line.index)} d="{path}"/>')
        if len(spots) <= 20:
            parts += [f'<circle class="dot c{line.index % COLOURS}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'
                      for x, y in spots]
    spoken = f'{name} over {unit}s. ' + '; '.join(_spoken(line) for line, _ in series)
    return (f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(spoken)}">' + ''.join(parts)
            + '</svg>')
