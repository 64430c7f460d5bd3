"""The findings for a terminal and for a file: a table of each data set, then its problems by kind."""

from typing import Any

SHOWN = 5
"""Problems of one kind that are shown; the JSON file holds all."""


def _range(values: dict[str, float]) -> str:
    return f'{values["min"]:,.4g} to {values["max"]:,.4g} (median {values["median"]:,.4g})'


def _lines_of_sizes(result: dict[str, Any]) -> list[str]:
    lines = []
    if 'width' in result:
        lines.append(f'| width, height | {_range(result["width"])}; {_range(result["height"])} |')
        lines.append(f'| distinct sizes | {result["distinct_sizes"]:,} |')
    if 'points' in result:
        lines.append(f'| points | {_range(result["points"])} |')
    if 'box_side' in result:
        small, medium, large = result['small_medium_large']
        lines.append(f'| side of a box, square root of its area | {_range(result["box_side"])} |')
        lines.append(f'| boxes under 32, under 96, from 96 pixels on | {small:,}, {medium:,}, {large:,} |')
    if 'missing_depth' in result:
        lines.append(f'| share of pixels without depth | {_range(result["missing_depth"])} |')
    return lines


def _lines_of_problems(result: dict[str, Any]) -> list[str]:
    lines = []
    for kind, count in sorted(result['kinds'].items(), key=lambda item: -item[1]):
        lines.append(f'- {kind}: {count:,}')
        found = [problem for problem in result['problems'] if problem['kind'] == kind]
        lines += [f'    - {problem["file"]}: {problem["detail"]}' for problem in found[:SHOWN]]
        if count > SHOWN:
            lines.append(f'    - and {count - SHOWN:,} more')
    return lines


def text_of(result: dict[str, Any]) -> str:
    """A data set's findings as Markdown, for :meth:`..findings.Findings.summary`'s values."""
    classes = result['classes']
    total = sum(classes.values()) or 1
    lines = [f'## {result["key"]} ({result["kind"]})', '', '| | |', '| --- | --- |',
             f'| samples, intact | {result["samples"]:,}, {result["intact"]:,} |', *_lines_of_sizes(result)]
    if classes:
        lines += ['', f'| class | {result["counted"]} | share |', '| --- | --- | --- |']
        lines += [f'| {name} | {count:,} | {count / total:.1%} |' for name, count in classes.items()]
    lines += ['', f'{len(result["problems"]):,} problems' + (':' if result['problems'] else '.'),
              *_lines_of_problems(result), '']
    return '\n'.join(lines)
