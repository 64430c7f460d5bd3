"""What the tools that look at a config's data share: reading the config, and building its data sets."""

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from projects.runtime.build_errors import config_errors
from projects.runtime.config_files import check_scope, load_config
from projects.runtime.data_options import apply_data_options
from projects.runtime.data_paths import check_data_paths
from projects.runtime.errors import ConfigError


def read_config(path: str | Path, options: dict[str, Any], split: str) -> Config:
    """A config with `--cfg-options` in it, whose data of `split` are there; its scope becomes the default.

    Raises:
        ConfigError: the file or an option cannot be used.
        DataError: data are missing.
    """
    cfg = load_config(path, options)
    check_scope(cfg)
    for note in apply_data_options(cfg, options):
        print(note)
    check_data_paths(cfg, (split,))
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    return cfg


def loaders(cfg: Config, split: str) -> list[dict[str, Any]]:
    """Configs of the data loaders of 'train', 'val' or 'test': one, or several where a loop takes several.

    Raises:
        ConfigError: there is none.
    """
    found = cfg.get(f'{split}_dataloader')
    found = list(found) if isinstance(found, (list, tuple)) else [found]
    if not all(isinstance(loader, dict) and 'dataset' in loader for loader in found):
        there = [name for name in ('train', 'val', 'test') if cfg.get(f'{name}_dataloader')]
        raise ConfigError(f'{cfg.filename}: {split}_dataloader holds no data set. The config has data loaders for: '
                          f'{", ".join(there) or "nothing"}')
    return found


def build_datasets(cfg: Config, split: str) -> list[Any]:
    """The data sets of a split, built and read, their wrappers (repeating, joining, mixing) included."""
    with config_errors(cfg):
        datasets = [DATASETS.build(loader['dataset']) for loader in loaders(cfg, split)]
    for dataset in datasets:
        if hasattr(dataset, 'full_init'):
            dataset.full_init()
    return datasets
