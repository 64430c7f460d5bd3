"""The page: a table that compares the runs, charts that share their metrics, and a section for each run."""

import math
from datetime import datetime
from html import escape

from .charts import Line, chart, style_of
from .metrics import Metric, number, small_is_good
from .run_folder import STATES, Run
from .style import SCRIPT, STYLE

COLUMNS = 8
"""Most metrics in the table on top."""
CHARTS = 6
"""Metric charts that are open at once; the others are below, folded."""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def _cell(value: float | None, best: bool = False) -> str:
    if value is None:
        return '<td class="figure" data-value=""><span class="soft">&ndash;</span></td>'
    shown = f'<strong>{number(value)}</strong>' if best else number(value)
    return f'<td class="figure" data-value="{value if math.isfinite(value) else ""}">{shown}</td>'


def _table(head: list[str], rows: list[str], caption: str, sortable: bool = False) -> str:
    """A table in a box of its own that scrolls; its heads are buttons where it can be sorted.

    Columns hold figures behind the first one, or behind the third one of a sortable table (state and task).
    """
    cells = ''.join(
        f'<th scope="col"{" class=figure" if place >= (3 if sortable else 1) else ""}>'
        f'{f"<button type=button>{escape(name)}</button>" if sortable else escape(name)}</th>'
        for place, name in enumerate(head))
    kind = ' class="sortable"' if sortable else ''
    box = 'scroll' if sortable else 'scroll narrow'
    return (f'<p class="soft">{escape(caption)}.</p><div class="{box}" tabindex="0" role="region" '
            f'aria-label="{escape(caption)}"><table{kind}><thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody>'
            '</table></div>')


def _shared_metrics(runs: list[Run]) -> list[str]:
    """Columns of the comparison: of every run the first metrics, those of more runs before those of fewer."""
    names = dict.fromkeys(name for place in range(COLUMNS) for run in runs
                          for name in run.first_metrics[place:place + 1])
    counts = {name: sum(run.final(name) is not None for run in runs) for name in names}
    return sorted(names, key=lambda name: -counts[name])[:COLUMNS]


def _best_of(runs: list[Run], name: str) -> float | None:
    values = [value for run in runs if (value := run.final(name)) is not None and math.isfinite(value)]
    return (min if small_is_good(name) else max)(values) if len(values) > 1 else None


def comparison(runs: list[Run]) -> str:
    """The table on top: state and last metrics of every run, costs where they are known."""
    metrics = _shared_metrics(runs)
    costs = list(dict.fromkeys(name for run in runs for name in list(run.costs)[:4]))[:4]
    best = {name: _best_of(runs, name) for name in metrics}
    rows = []
    for index, run in enumerate(runs):
        cells = [_cell(value := run.final(name), value is not None and value == best[name]) for name in metrics]
        cells += [f'<td class="figure">{escape(run.costs.get(name, "–"))}</td>' for name in costs]
        rows.append(f'<tr><th scope="row"><a href="#run{index}">{escape(run.name)}</a></th>'
                    f'<td class="state {run.state}">{run.state}</td><td>{escape(run.task or "–")}</td>{"".join(cells)}'
                    f'<td class="figure">{escape(run.facts.get("time in all", "–"))}</td></tr>')
    caption = ('Last value of each metric, of the newest test or else of the last validation; the best of a column is '
               'bold')
    return _table(['run', 'state', 'task', *metrics, *costs, 'time'], rows, caption, sortable=True)


def _legend(runs: list[Run]) -> str:
    items = ''.join(f'<li><svg viewBox="0 0 28 10" aria-hidden="true"><path {style_of(index)} d="M0 5H28"/></svg>'
                    f'{escape(run.name)}</li>' for index, run in enumerate(runs) if run.training or run.validation)
    return f'<ul class="legend">{items}</ul>'


def _figures(runs: list[Run], part: str) -> list[str]:
    """Charts of 'validation' or 'training'; every run's first metric comes first, then the second ones.

    Runs share a chart if metric, task and unit of the steps are the same.
    """
    groups: dict[tuple[str, str, str], list[Line]] = {}
    places: dict[tuple[str, str, str], int] = {}
    for index, run in enumerate(runs):
        series: list[Metric] = getattr(run, part)
        for place, metric in enumerate(_ordered(run, series)):
            key = metric.name, run.task, run.unit if part == 'validation' else 'iteration'
            groups.setdefault(key, []).append(Line(index, run.name, metric))
            places[key] = min(place, places.get(key, place))
    several = len({run.task for run in runs}) > 1
    return [f'<figure class="chart"><figcaption><strong>{escape(name)}</strong>'
            f'{f" &middot; {escape(task)}" if several and task else ""}</figcaption>'
            f'{chart(groups[name, task, unit], name, unit)}</figure>'
            for name, task, unit in sorted(groups, key=places.__getitem__)]


def _ordered(run: Run, series: list[Metric]) -> list[Metric]:
    rank = {name: place for place, name in enumerate(run.first_metrics)}
    return sorted(series, key=lambda metric: rank.get(metric.name, len(rank)))


def curves(runs: list[Run]) -> str:
    """Charts of validation and training; runs that share a metric share its chart."""
    parts = []
    losses = len({run.task for run in runs if run.training})
    for part, title, open_count in (('validation', 'Validation', CHARTS), ('training', 'Training', losses)):
        figures = _figures(runs, part)
        if not figures:
            continue
        parts.append(f'<h3>{title}</h3><div class="charts">{"".join(figures[:open_count])}</div>')
        if rest := figures[open_count:]:
            parts.append(f'<details><summary>{len(rest)} more: {title.lower()}</summary><div class="charts">'
                         f'{"".join(rest)}</div></details>')
    return f'<h2>Curves</h2>{_legend(runs)}{"".join(parts)}' if parts else ''


def _metrics_table(run: Run) -> str:
    if not run.validation:
        return ''
    rows = []
    for metric in _ordered(run, run.validation):
        best, step = metric.best
        rows.append(f'<tr><th scope="row">{escape(metric.name)}</th>{_cell(metric.final)}{_cell(best)}'
                    f'<td class="figure">{number(step)}</td></tr>')
    count = len(run.validation[0].values)
    caption = (f'Validation: {count} evaluation{"s" * (count > 1)}; best is the largest value, of errors the '
               'smallest')
    return _table(['metric', 'last', 'best', f'at {run.unit}'], rows, caption)


def _tests(run: Run) -> str:
    tables = []
    for session, metrics in run.tests.items():
        rows = [f'<tr><th scope="row">{escape(name)}</th>{_cell(value)}</tr>' for name, value in metrics.items()]
        tables.append(_table(['metric', 'value'], rows, f'Test of {session}'))
    return ''.join(tables)


def _pictures(run: Run) -> str:
    if not run.pictures:
        return ''
    figures = ''.join(f'<figure><img src="{picture.uri}" width="{picture.width}" height="{picture.height}" '
                      f'alt="Prediction {escape(picture.name)} of run {escape(run.name)}"><figcaption>'
                      f'{escape(picture.name)}</figcaption></figure>' for picture in run.pictures)
    return f'<h3>Pictures</h3><div class="pictures">{figures}</div>'


def _pairs(title: str, values: dict[str, str]) -> str:
    if not values:
        return ''
    items = ''.join(f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>' for name, value in values.items())
    return f'<h3>{title}</h3><dl>{items}</dl>'


def _command(run: Run) -> str:
    """The command that repeats the run: the config that it wrote holds all options."""
    file = run.config_file()
    if file is None:
        return ''
    tool, arguments = ('test', f'{file} {run.checkpoint or "none"}') if run.state == 'tested' else ('train', str(file))
    start = f'python tools/{tool}.py {arguments}'
    if run.facts.get('Distributed training') == 'True':
        start = f'bash tools/dist_{tool}.sh {arguments} {run.facts.get("GPU number", 1)}'
    # the config of a resumed session names the checkpoint that it went on from
    afresh = ' --cfg-options resume=False load_from=None' if tool == 'train' and run.resumed else ''
    command = f'{start} --work-dir work_dirs/{run.folder.name}_again{afresh}'
    return ('<h3>Command</h3><p class="soft">Repeats it with the same settings; the config below holds the options of '
            f'its command line.</p><pre tabindex="0">{escape(command)}</pre>')


def section(run: Run, index: int) -> str:
    """Everything about one run."""
    problems = ''.join(f'<li>{escape(text)}</li>' for text in run.problems)
    config = (f'<details><summary>Config</summary><pre tabindex="0">{escape(run.config_text)}</pre></details>'
              if run.config_text else '')
    return (f'<section><h2 id="run{index}">{escape(run.name)}</h2><p><span class="state {run.state}">{run.state}</span>'
            f'<span class="soft"> &middot; {escape(run.task or "unknown task")} &middot; '
            f'{escape(run.config_name or "no config")} &middot; {escape(str(run.folder))}</span></p>'
            + (f'<div class="problems"><strong>What is missing or wrong</strong><ul>{problems}</ul></div>'
               if problems else '')
            + _metrics_table(run) + _tests(run) + _pictures(run) + _pairs('Costs', run.costs)
            + _pairs('Circumstances', run.facts) + _command(run) + config + '</section>')


def build_page(runs: list[Run], title: str, now: datetime | None = None) -> str:
    """The HTML of a report: complete in itself, with a policy that forbids it to load anything.

    Args:
        runs: in the order of the page.
        title: heading, plain text.
        now: time in the heading; default: the clock's.
    """
    when = (now or datetime.now()).strftime('%Y-%m-%d %H:%M')
    states = {state: sum(run.state == state for run in runs) for state in STATES}
    counted = ', '.join(f'{count} {state}' for state, count in states.items() if count)
    body = ''.join(section(run, index) for index, run in enumerate(runs))
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            f'content="width=device-width, initial-scale=1"><meta http-equiv="Content-Security-Policy" '
            f'content="{_POLICY}"><link rel="icon" href="data:,"><title>{escape(title)}</title><style>{STYLE}</style>'
            f'</head><body><header><h1>{escape(title)}</h1><p class="soft">{len(runs)} run{"s" * (len(runs) != 1)}: '
            f'{counted}. Written {when}.</p></header><main>{comparison(runs)}{curves(runs)}{body}</main>'
            f'<script>{SCRIPT}</script></body></html>\n')
