"""Report on a pruned model: costs before and after, and the kept channels of every layer as a picture."""

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from projects.runtime.atomic import write_atomic

if TYPE_CHECKING:
    from .pipeline import PruneResult

COLOURS = dict(backbone='#4c72b0', head='#dd8452')


def summary(result: 'PruneResult') -> dict[str, Any]:
    """The report's content."""
    layers = [dict(group=name, part=group.part, channels=group.channels, kept=int(result.masks[name].sum()),
                   layers=group.producers) for name, group in result.graph.groups.items()]
    fixed = [dict(group=name, channels=group.channels, reason=group.fixed)
             for name, group in result.graph.fixed.items()]
    return dict(size=list(result.graph.size), dense=asdict(result.before), pruned=asdict(result.after),
                macs_ratio=result.after.macs / result.before.macs,
                params_ratio=result.after.params / result.before.params,
                latency_ms={name: times.latency for name, times in result.latency.items()},
                cpu_ms={name: times.cpu for name, times in result.latency.items()},
                layers=layers, fixed=fixed, info=result.structure.info)


def markdown(content: dict[str, Any], picture: str) -> str:
    """The report's text."""
    height, width = content['size']
    rows = [('multiply-adds, G', content['dense']['macs'] / 1e9, content['pruned']['macs'] / 1e9),
            ('parameters, M', content['dense']['params'] / 1e6, content['pruned']['params'] / 1e6)]
    if content['latency_ms']:
        rows += [(label, content[key]['dense'], content[key]['pruned']) for key, label in (
            ('latency_ms', 'latency, ms (median, in turns)'), ('cpu_ms', 'CPU time of all threads, ms'))]
    lines = [f'# Pruned network, {height}x{width} pixels', '', '| | dense | pruned | ratio |', '| --- ' * 4 + '|']
    lines += [f'| {name} | {dense:.3f} | {pruned:.3f} | {pruned / dense:.3f} |' for name, dense, pruned in rows]
    lines += ['', f'![kept channels]({picture})', '', '| channels of | kept | of |', '| --- ' * 3 + '|']
    lines += [f'| {row["group"]} | {row["kept"]} | {row["channels"]} |' for row in content['layers']]
    lines += ['', 'Not pruned:', '', '| channels of | number | why |', '| --- ' * 3 + '|']
    lines += [f'| {row["group"]} | {row["channels"]} | {row["reason"]} |' for row in content['fixed']]
    return '\n'.join(lines) + '\n'


def picture(content: dict[str, Any]) -> bytes:
    """Kept over dense channels of every group, as PNG."""
    from matplotlib.figure import Figure

    rows = content['layers']
    figure = Figure(figsize=(8, 1.2 + 0.2 * len(rows)), layout='constrained')
    axes = figure.add_subplot()
    places = range(len(rows))
    axes.barh(places, [1.0] * len(rows), color='#e5e5e5')
    axes.barh(places, [row['kept'] / row['channels'] for row in rows], color=[COLOURS[row['part']] for row in rows])
    axes.set_yticks(places, [row['group'] for row in rows], fontsize=7)
    for place, row in enumerate(rows):
        axes.text(1.01, place, f'{row["kept"]} of {row["channels"]}', va='center', fontsize=7)
    axes.set(xlim=(0, 1.15), ylim=(len(rows) - 0.5, -0.5), xlabel='share of kept channels',
             title=f'{content["macs_ratio"]:.1%} of the multiply-adds, {content["params_ratio"]:.1%} of the parameters')
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=120)
    return buffer.getvalue()


def write_report(result: 'PruneResult', stem: Path) -> dict[str, Any]:
    """Write `STEM.json`, `STEM.md` and `STEM.png`; returns the content."""
    content = summary(result)
    write_atomic(stem.with_suffix('.png'), picture(content))
    write_atomic(stem.with_suffix('.json'), json.dumps(content, indent=1) + '\n')
    write_atomic(stem.with_suffix('.md'), markdown(content, f'{stem.name}.png'))
    return content
