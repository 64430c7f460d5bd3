"""Which library each config belongs to, found without parsing it: test files ask while they are collected, and every
worker of pytest collects all of them."""

import functools
import re
from pathlib import Path

CONFIGS = sorted(Path(__file__).resolve().parents[1].glob('configs/*.py'))


@functools.cache
def scope_of(path):
    """`default_scope` of a config, its own or that of the first of its bases which has one; None without."""
    text = path.read_text(encoding='utf-8')
    if found := re.search(r"^default_scope = '(\w+)'", text, re.MULTILINE):
        return found[1]
    bases = re.search(r"^_base_ = (\[.*?\]|'[^']*')", text, re.MULTILINE | re.DOTALL)
    names = [name for name in re.findall(r"'([^']+)'", bases[1]) if '::' not in name] if bases else []
    return next((scope for name in names if (scope := scope_of((path.parent / name).resolve()))), None)


def configs_of(scope):
    """Paths of the configs of a scope, in order."""
    return [path for path in CONFIGS if scope_of(path) == scope]
