"""Costs as a table of modules, as a comparison of two models, and as a picture."""

from pathlib import Path

from projects.runtime.atomic import atomic_file

from .cost import Cost, ModuleCost

COLUMNS = ('mul, G', 'add, G', 'energy, mJ', 'energy, %', 'params, M', 'outputs, M')
REST = '(rest)'


def _row(cost: Cost, part: ModuleCost) -> list[str]:
    energy = cost.energy.millijoules(part.mul, part.add)
    share = 100 * energy / cost.energy_mj if cost.energy_mj else 0
    return [f'{part.mul / 1e9:,.3f}', f'{part.add / 1e9:,.3f}', f'{energy:,.2f}', f'{share:.1f}',
            f'{part.params / 1e6:,.3f}', f'{part.activations / 1e6:,.2f}']


def _depth(name: str) -> int:
    return name.count('.') + 1 if name else 0


def table(cost: Cost, depth: int = 2) -> str:
    """A line for each module down to `depth`, the model itself being 0; those without cost and parameters left out.

    'outputs' are elements of the outputs of counted operators.
    """
    lines = [['module', 'class', *COLUMNS]]
    for name, part in cost.per_module.items():
        level = _depth(name)
        if level <= depth and (level == 0 or part.mul or part.add or part.params):
            lines.append([('  ' * level + name.split('.')[-1]) if name else 'model', part.kind, *_row(cost, part)])
    return _aligned(lines)


def _aligned(lines: list[list[str]], left: int = 2) -> str:
    """Text columns to the left, the first `left` of them, and numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return '\n'.join('  '.join(cell.ljust(width) if index < left else cell.rjust(width)
                               for index, (cell, width) in enumerate(zip(line, widths, strict=True))).rstrip()
                     for line in lines)


def comparison(names: list[str], costs: list[Cost]) -> str:
    """Totals of two models side by side, and the second's as a multiple of the first's."""
    rows = [('mul, G', [cost.mul / 1e9 for cost in costs]), ('add, G', [cost.add / 1e9 for cost in costs]),
            ('energy, mJ', [cost.energy_mj for cost in costs]), ('params, M', [cost.params / 1e6 for cost in costs]),
            ('outputs, M', [cost.activations / 1e6 for cost in costs]),
            ('peak memory, MiB', [cost.peak_bytes / 2 ** 20 for cost in costs])]
    lines = [['', *names, 'ratio']]
    for title, (first, second) in rows:
        lines.append([title, f'{first:,.3f}', f'{second:,.3f}', f'{second / first:.3f}' if first else '-'])
    return _aligned(lines, left=1)


def main_parts(cost: Cost) -> dict[str, ModuleCost]:
    """The modules that a picture shows: the children of the model, or of the one child that does all."""
    parent = ''
    while True:
        children = {name: part for name, part in cost.per_module.items()
                    if _depth(name) == _depth(parent) + 1 and name.startswith(f'{parent}.' if parent else '')
                    and (part.mul or part.add or part.params)}
        if len(children) != 1:
            return children or {parent: cost.per_module[parent]}
        [parent] = children


def draw(names: list[str], costs: list[Cost], out: str | Path) -> None:
    """Write a PNG: multiplications, additions, energy and parameters of each model, by main parts."""
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    panels = [('multiplications, G', lambda cost, part: part.mul / 1e9),
              ('additions, G', lambda cost, part: part.add / 1e9),
              ('energy of the arithmetic, mJ', lambda cost, part: cost.energy.millijoules(part.mul, part.add)),
              ('parameters, M', lambda cost, part: part.params / 1e6)]
    parts = [main_parts(cost) for cost in costs]
    labels = list(dict.fromkeys(name for own in parts for name in own))
    figure, axes = plt.subplots(1, len(panels), figsize=(15, 4.5), layout='constrained')
    for axis, (title, value) in zip(axes, panels, strict=True):
        heights = [[value(cost, own[label]) if label in own else 0.0 for cost, own in zip(costs, parts, strict=True)]
                   for label in labels]
        totals = [value(cost, cost) for cost in costs]
        _stack(axis, names, labels, heights, totals)
        axis.set_title(title)
    figure.legend(*axes[0].get_legend_handles_labels(), loc='outside lower center', ncols=6, fontsize='small')
    with atomic_file(out) as file:
        figure.savefig(file, format='png', dpi=120)
    plt.close(figure)


def _stack(axis, names, labels, heights, totals):
    """Bars of `totals`, one for each name, made of `heights` and of what they leave."""
    bottom = [0.0] * len(names)
    places = range(len(names))
    rest = [total - sum(column) for total, column in zip(totals, zip(*heights, strict=True), strict=True)]
    if max(rest) > 1e-3 * max(totals):
        labels, heights = [*labels, REST], [*heights, rest]
    for label, values in zip(labels, heights, strict=True):
        axis.bar(places, values, bottom=bottom, width=0.6, label=label)
        bottom = [low + value for low, value in zip(bottom, values, strict=True)]
    for place, total in zip(places, totals, strict=True):
        axis.annotate(f'{total:,.4g}', (place, total), ha='center', va='bottom')
    axis.set_xticks(places, names, fontsize='small')
    axis.margins(x=0.2, y=0.1)
    axis.grid(axis='y', alpha=0.3)
