"""Two short options for the user's own data: `data_root=` and `classes=` under `--cfg-options`.

`data_root=/path/` moves every path of the config's data sets and metrics from the config's own root
to another; mmengine would only change the variable, which the paths were made from when the file
was read. `classes=a,b,c` sets the class names of all data sets and the number of classes of every
head. And a PASCAL VOC config whose root turns out to be one VOC folder, instead of a devkit of
several years, is rewritten to read that folder.
"""

import colorsys
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from .dataset_configs import DatasetEntry, split_datasets
from .errors import ConfigError

_KEPT = ('work_dir', 'load_from', 'model')
_NOT_A_CLASSIFIER = ('rpn_head',)
_YEAR = re.compile(r'^VOC\d{4}/')
_SUBSTITUTES = {'trainval.txt': 'train.txt', 'test.txt': 'val.txt'}


def _strings(container: Any) -> Iterator[tuple[Any, Any, str]]:
    """Every string in nested dicts and lists, as (container, key, string)."""
    items = container.items() if isinstance(container, dict) else enumerate(container)
    for key, value in list(items):
        if isinstance(value, str):
            yield container, key, value
        elif isinstance(value, (dict, list)):
            yield from _strings(value)


def _former_root(cfg: Config) -> str:
    """The config's own data root: its variable `data_root`, or the one its data sets share."""
    root = cfg.get('data_root')
    roots = {root} if isinstance(root, str) else {
        entry.root for entry in split_datasets(cfg) if entry.root}
    if len(roots) != 1 or not next(iter(roots)).strip('./'):
        found = ', '.join(sorted(roots)) or 'none'
        raise ConfigError(
            f'--cfg-options data_root=...: {cfg.filename} has no single data root to replace '
            f'(found: {found}). Set the data sets\' keys one by one, for example '
            'train_dataloader.dataset.data_root=/path/.')
    return next(iter(roots))


def replace_data_root(cfg: Config, root: str) -> None:
    """Move all paths of the config below its former data root to `root`, in place.

    Raises:
        ConfigError: the config has no root, or several.
    """
    former = _former_root(cfg).rstrip('/')
    root = os.path.join(os.path.expanduser(str(root)), '')
    for name, value in list(cfg.items()):
        if name in _KEPT:
            continue
        if isinstance(value, str):
            cfg[name] = _moved(value, former, root)
        elif isinstance(value, (dict, list)):
            for container, key, string in _strings(value):
                container[key] = _moved(string, former, root)
    cfg['data_root'] = root


def _moved(path: str, former: str, root: str) -> str:
    if path.rstrip('/') == former:
        return root
    return root + path[len(former) + 1:] if path.startswith(f'{former}/') else path


def class_names(value: Any) -> tuple[str, ...]:
    """Class names from an option's value: one name, or a list of names.

    Raises:
        ConfigError: no names, or one twice.
    """
    names = tuple(map(str, value)) if isinstance(value, (list, tuple)) else (str(value),)
    names = tuple(name.strip() for name in names if name.strip())
    if not names or len(set(names)) != len(names):
        raise ConfigError(f'--cfg-options classes={value!r}: expected distinct class names '
                          'separated by commas, for example classes=cat,dog.')
    return names


def _palette(count: int) -> list[tuple[int, ...]]:
    """`count` RGB colours around the colour circle, for pictures."""
    return [tuple(round(255 * part) for part in colorsys.hsv_to_rgb(index / count, 0.8, 0.95))
            for index in range(count)]


def _heads(model: Any) -> Iterator[dict[str, Any]]:
    """Every dict below `model` that states a number of classes, proposal heads excepted."""
    if isinstance(model, dict):
        if 'num_classes' in model:
            yield model
        for key, value in model.items():
            if key not in _NOT_A_CLASSIFIER:
                yield from _heads(value)
    elif isinstance(model, (list, tuple)):
        for part in model:
            yield from _heads(part)


def replace_classes(cfg: Config, value: Any) -> None:
    """Set the class names of all data sets and `num_classes` of all heads, in place.

    Raises:
        ConfigError: bad names, or the model states no number of classes.
    """
    names = class_names(value)
    heads = list(_heads(cfg.model))
    if not heads:
        raise ConfigError(f'--cfg-options classes=...: no part of model in {cfg.filename} has the '
                          'key num_classes. Set the number of classes by its own key.')
    for head in heads:
        head['num_classes'] = len(names)
    for entry in split_datasets(cfg):
        entry.cfg['metainfo'] = dict(classes=names, palette=_palette(len(names)))
    cfg['classes'] = names


def _is_single_folder(root: str) -> bool:
    """Whether `root` itself is a VOC folder rather than a devkit of VOC2007/, VOC2012/..."""
    parts = ('Annotations', 'ImageSets/Main', 'JPEGImages')
    return all(os.path.isdir(os.path.join(root, part)) for part in parts)


def _is_yearly(entry: DatasetEntry) -> bool:
    return entry.kind == 'voc' and _YEAR.match(entry.cfg.get('ann_file') or '') is not None


def _without_year(entry: DatasetEntry) -> dict[str, Any]:
    """The data set's config, changed to read its root as the one VOC folder."""
    annotations = _YEAR.sub('', entry.cfg['ann_file'])
    path = Path(annotations)
    substitute = _SUBSTITUTES.get(path.name)
    if substitute and not os.path.exists(entry.path(annotations)) and os.path.exists(
            entry.path(str(path.with_name(substitute)))):
        annotations = str(path.with_name(substitute))
    entry.cfg['ann_file'] = annotations
    entry.cfg['data_prefix']['sub_data_root'] = ''
    return entry.cfg


def _single(dataset: dict[str, Any], key: str) -> dict[str, Any]:
    """`dataset` with each concatenation of years replaced by its first year."""
    if 'datasets' in dataset:
        return _single(dataset['datasets'][0], f'{key}.datasets.0')
    if 'dataset' in dataset:
        dataset['dataset'] = _single(dataset['dataset'], f'{key}.dataset')
        return dataset
    return _without_year(DatasetEntry(key, dataset))


def use_single_voc_folder(cfg: Config) -> str | None:
    """Rewrite a config of VOC years whose root is a single VOC folder, in place.

    Training reads `trainval.txt` (else `train.txt`), testing `test.txt` (else `val.txt`), once each
    however many years the config joins.

    Returns:
        A sentence for the log, or None if the config stays as it is.
    """
    used = []
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        key = f'{split}_dataloader.dataset'
        entries = split_datasets(cfg, (split,))
        if not entries or not isinstance(loader, dict) or not all(
                _is_yearly(entry) and _is_single_folder(entry.root) for entry in entries):
            continue
        loader['dataset'] = _single(loader['dataset'], key)
        [entry] = split_datasets(cfg, (split,))
        used.append(f'{split}: {entry.cfg["ann_file"]}')
        root = entry.root
    if not used:
        return None
    return f'{root} is a single VOC folder, not a devkit of several years; reading ' \
           f'{", ".join(used)}.'


def apply_data_options(cfg: Config, options: dict[str, Any]) -> list[str]:
    """Apply the data options taken from `--cfg-options`, and look for a single VOC folder.

    Args:
        cfg: changed in place.
        options: may hold `data_root` and `classes`; other keys are ignored.

    Returns:
        Sentences for the log.
    """
    notes = []
    if 'data_root' in options:
        replace_data_root(cfg, options['data_root'])
    note = use_single_voc_folder(cfg)
    if note:
        notes.append(note)
    if 'classes' in options:
        replace_classes(cfg, options['classes'])
        notes.append(f'Classes: {", ".join(cfg["classes"])}.')
    return notes
