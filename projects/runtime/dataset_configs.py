"""Finding data sets in a config, below every wrapper (`RepeatDataset`, `ConcatDataset`...)."""

from collections.abc import Iterator
from dataclasses import dataclass
from os.path import join
from typing import Any

from mmengine.config import Config

from .checkpoint_files import is_remote

SPLITS = ('train', 'val', 'test')


@dataclass(frozen=True)
class DatasetEntry:
    """A data set of a config.

    Attributes:
        key: where it stands, e.g. `train_dataloader.dataset.datasets.0`.
        cfg: its dict, shared with the config.
    """

    key: str
    cfg: dict[str, Any]

    @property
    def kind(self) -> str:
        """Layout family: 'coco', 'voc', or 'other' when nothing special is known about it."""
        name = str(self.cfg.get('type', '')).lower()
        if 'sub_data_root' in (self.cfg.get('data_prefix') or {}):
            return 'voc'
        return 'coco' if 'coco' in name and 'panoptic' not in name else 'other'

    @property
    def root(self) -> str:
        """`data_root`, or an empty string."""
        return self.cfg.get('data_root') or ''

    @property
    def is_local(self) -> bool:
        """Whether its files lie on this machine and can be looked at."""
        return not self.cfg.get('backend_args') and not any(
            is_remote(path) for path in (self.root, self.cfg.get('ann_file') or ''))

    def path(self, relative: str) -> str:
        """`relative` joined with the root, as mmengine's data sets do it."""
        return join(self.root, relative)


def loads_labels(step: Any) -> bool:
    """Whether a step of a pipeline reads ground truth."""
    return isinstance(step, dict) and str(step.get('type', '')).startswith('LoadAnnotations')


def leaf_datasets(dataset: Any, key: str) -> Iterator[DatasetEntry]:
    """All data sets in `dataset` that read files themselves."""
    if not isinstance(dataset, dict):
        return
    if 'datasets' in dataset:
        for index, part in enumerate(dataset['datasets']):
            yield from leaf_datasets(part, f'{key}.datasets.{index}')
    elif 'dataset' in dataset:
        yield from leaf_datasets(dataset['dataset'], f'{key}.dataset')
    else:
        yield DatasetEntry(key, dataset)


def split_datasets(cfg: Config, splits: tuple[str, ...] = SPLITS) -> list[DatasetEntry]:
    """The data sets of the data loaders of `splits`."""
    entries: list[DatasetEntry] = []
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        for name, part in _loaders(loader, f'{split}_dataloader'):
            entries.extend(leaf_datasets(part.get('dataset'), f'{name}.dataset'))
    return entries


def split_evaluators(cfg: Config, splits: tuple[str, ...]) -> list[tuple[str, dict[str, Any]]]:
    """The metrics of `splits` with their keys: single, in lists, or under `metrics`."""
    found: list[tuple[str, dict[str, Any]]] = []
    for split in splits:
        if split == 'train':
            continue
        key = f'{split}_evaluator'
        evaluator = cfg.get(key)
        if isinstance(evaluator, dict) and 'metrics' in evaluator:
            key, evaluator = f'{key}.metrics', evaluator['metrics']
        found.extend(_loaders(evaluator, key))
    return found


def _loaders(value: Any, key: str) -> list[tuple[str, dict[str, Any]]]:
    """A dict, or the dicts of a list, with their keys."""
    if isinstance(value, dict):
        return [(key, value)]
    if isinstance(value, (list, tuple)):
        return [(f'{key}.{index}', item) for index, item in enumerate(value)
                if isinstance(item, dict)]
    return []
