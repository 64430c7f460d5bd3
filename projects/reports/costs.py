"""Costs of a run's model: `cost.json` in its work dir, as `tools/analysis_tools/get_cost.py --json` writes it."""

import json
import subprocess
import sys
from pathlib import Path

from .metrics import number

FILE = 'cost.json'
_NAMES = dict(mul='multiplications', add='additions', params='parameters', energy_mj='energy, mJ',
              peak_bytes='peak memory, bytes', activations='activations, elements',
              params_idle='parameters not used')
_LARGE = ((1e12, 'T'), (1e9, 'G'), (1e6, 'M'), (1e3, 'k'))


def _shown(value: float) -> str:
    for size, letter in _LARGE:
        if abs(value) >= size:
            return f'{value / size:,.2f} {letter}'
    return number(value)


def _totals(content: dict) -> dict[str, str]:
    """Figures of the top level, well-known ones first, and what they were counted for; trees and lists are left out."""
    keys = [*filter(content.__contains__, _NAMES), *(key for key in content if key not in _NAMES and key != 'passes')]
    found = {_NAMES.get(key, key.replace('_', ' ')): _shown(content[key]) for key in keys
             if isinstance(content[key], (int, float)) and not isinstance(content[key], bool)}
    return {**found, 'counted for': content['input']} if isinstance(content.get('input'), str) else found


def read_costs(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Costs by name, and a sentence if the file cannot be read; nothing where there is none."""
    file = folder / FILE
    if not file.is_file():
        return {}, []
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
    except ValueError as error:
        return {}, [f'{FILE}: not valid JSON: {error}']
    if isinstance(content, list) and content:
        content = content[0]  # get_cost.py writes one entry for each model
    if not isinstance(content, dict):
        return {}, [f'{FILE}: expected an object of figures, found {type(content).__name__}.']
    return _totals(content), []


def count_costs(config: Path, out: Path) -> str | None:
    """Let `get_cost.py` count a config's model into `out`; return its complaint, or None."""
    tool = Path(__file__).resolve().parents[2] / 'tools' / 'analysis_tools' / 'get_cost.py'
    done = subprocess.run([sys.executable, str(tool), str(config), '--json', str(out)], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        return f'get_cost.py failed: {(done.stderr.strip().splitlines() or ["no message"])[-1]}'
    return None
