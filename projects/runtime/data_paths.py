"""Are the data where the config says? Asked before a model is built or a folder is made.

Whatever is missing is reported in one message: each path with the config key it came from, the
layout that was expected, and the ways to point elsewhere.
"""

import os
import re
from pathlib import Path

from mmengine.config import Config

from .checkpoint_files import is_remote
from .dataset_configs import DatasetEntry, loads_labels, split_datasets, split_evaluators
from .errors import DataError

DATA_VARIABLE = 'MMDOWNSTREAM_DATA'
"""Environment variable that our configs read the parent folder of all data sets from."""

_FOLDERS = ('img', 'img_path', 'pts', 'seg_map_path')
_YEAR = re.compile(r'VOC\d{4}')


def _required(entry: DatasetEntry) -> list[tuple[str, str]]:
    """Paths that a data set needs, each with the key that names it, its root first."""
    paths = [(entry.root, f'{entry.key}.data_root')] if entry.root else []
    annotations = entry.cfg.get('ann_file')
    if annotations:
        paths.append((entry.path(annotations), f'{entry.key}.ann_file'))
    prefixes = entry.cfg.get('data_prefix') or {}
    if entry.kind == 'voc':
        base = entry.path(prefixes['sub_data_root'])
        key = f'{entry.key}.data_prefix.sub_data_root'
        if entry.cfg.get('annotated', True):
            paths.append((os.path.join(base, entry.cfg.get('ann_subdir', 'Annotations')), key))
        paths += [(os.path.join(base, entry.cfg.get('img_subdir', 'JPEGImages')), key)]
    else:
        labelled = any(map(loads_labels, entry.cfg.get('pipeline') or ()))
        paths += [(entry.path(prefixes[name]), f'{entry.key}.data_prefix.{name}')
                  for name in _FOLDERS if isinstance(prefixes.get(name), str) and prefixes[name]
                  and (labelled or name != 'seg_map_path')]
    return paths


def _missing_of(entry: DatasetEntry) -> list[tuple[str, str]]:
    """What is missing of one data set; only the root if not even that is there."""
    missing = [(path, key) for path, key in _required(entry) if not os.path.exists(path)]
    root_is_missing = bool(missing) and missing[0][1].endswith('.data_root')
    return missing[:1] if root_is_missing else missing


def find_missing(cfg: Config, splits: tuple[str, ...]) -> dict[str, str]:
    """Missing local paths of the data sets and metrics of `splits`: path -> config key."""
    missing: dict[str, str] = {}
    for entry in split_datasets(cfg, splits):
        if entry.is_local:
            for path, key in _missing_of(entry):
                missing.setdefault(path, key)
    roots = tuple(path for path, key in missing.items() if key.endswith('.data_root'))
    for key, metric in split_evaluators(cfg, splits):
        path = metric.get('ann_file')
        if not isinstance(path, str) or not path or is_remote(path) or metric.get('backend_args'):
            continue
        if not os.path.exists(path) and not (roots and path.startswith(roots)):
            missing.setdefault(path, f'{key}.ann_file')
    return missing


def expected_layout(entries: list[DatasetEntry]) -> str:
    """A short tree of what the data sets read, one line a path."""
    lines: dict[str, None] = {}
    for entry in entries:
        root = entry.root or './'
        lines[root] = None
        annotations = entry.cfg.get('ann_file')
        prefixes = entry.cfg.get('data_prefix') or {}
        if annotations:
            note = '   image names without extension, one a line' if entry.kind == 'voc' else ''
            lines[f'  {annotations}{note}'] = None
        if entry.kind == 'voc':
            base = prefixes['sub_data_root']
            lines[f'  {os.path.join(base, "Annotations")}/*.xml'] = None
            lines[f'  {os.path.join(base, "JPEGImages")}/*.jpg'] = None
        for name in _FOLDERS:
            if isinstance(prefixes.get(name), str) and prefixes[name]:
                images = '*.jpg' if entry.kind == 'coco' else '...'
                lines[f'  {prefixes[name].rstrip("/")}/{images}'] = None
    return '\n'.join(f'  {line}' for line in lines)


def _ways_out(entries: list[DatasetEntry], missing: dict[str, str]) -> str:
    """How to point elsewhere: the option; the variable, if the root was made from it; one year."""
    example = next((entry.root for entry in entries if entry.root), 'data/')
    folder = Path(example).name or 'data'
    ways = [f'- --cfg-options data_root=/path/to/{folder}/']
    now = os.environ.get(DATA_VARIABLE)
    base = (now or 'data').rstrip('/') + '/'
    if example.startswith(base):
        ways.append(f'- export {DATA_VARIABLE}=/path/to, the folder that holds '
                    f'{example.removeprefix(base)} (now {now or "not set: data/"})')
    years = {match[0] for path in missing if (match := _YEAR.search(path))}
    there = [entry for entry in entries if entry.kind == 'voc' and not _missing_of(entry)]
    if years and there:
        year = os.path.normpath(there[0].path(there[0].cfg['data_prefix']['sub_data_root']))
        ways.append(f'- one year alone, without {", ".join(sorted(years))}: '
                    f'--cfg-options data_root={year}/')
    return '\n'.join(ways)


def check_data_paths(cfg: Config, splits: tuple[str, ...]) -> None:
    """Raise one `DataError` for everything that the data sets of `splits` miss on this machine.

    Args:
        cfg: config with `{split}_dataloader` and `{split}_evaluator`.
        splits: of 'train', 'val', 'test', those that the run needs.
    """
    missing = find_missing(cfg, splits)
    if not missing:
        return
    entries = split_datasets(cfg, splits)
    listed = '\n'.join(f'- {path}   (config key {key})' for path, key in missing.items())
    relative = any(not os.path.isabs(path) for path in missing)
    where = f' Relative paths count from {os.getcwd()}/.' if relative else ''
    raise DataError(
        f'Data of {cfg.filename or "the config"} are missing:\n{listed}\n'
        f'Expected layout:\n{expected_layout(entries)}\n'
        f'To point elsewhere:\n{_ways_out(entries, missing)}\n'
        f'data/README.md lists every data set\'s layout and source.{where}')
