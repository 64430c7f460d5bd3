"""The samples of a data set: as its own class lists them, or, where that class refuses, one by one."""

import os
import pickle
import re
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from projects.runtime.dataset_configs import DatasetEntry
from projects.runtime.errors import ConfigError

from .boxes import class_names, coco_samples, voc_samples
from .findings import Findings, Problem, Sample

_COUNTED = dict(detection='objects', segmentation='pixels', restoration='images', points='points')
_SCOPES = dict(mmdet='detection', mmseg='segmentation', mmdet3d='points', mmengine='restoration')
RGBD_COLUMNS = ('img_path', 'seg_map_path', 'depth_path')
MAIN_KEYS = ('lidar_path', 'img_path', 'gt_path')


def list_samples(cfg: Config, entry: DatasetEntry) -> Findings:
    """List the samples of one data set of a config, with all that is wrong with its annotations.

    Raises:
        ConfigError: the config is of another library, or the data set's type is unknown.
    """
    scope = cfg.get('default_scope')
    if scope not in _SCOPES:
        raise ConfigError(f'{cfg.filename}: default_scope is {scope!r}; data of {", ".join(_SCOPES)} can be checked.')
    init_default_scope(scope)
    with DATASETS.switch_scope_and_registry(None) as registry:
        kind = registry.get(entry.cfg['type']) if isinstance(entry.cfg['type'], str) else entry.cfg['type']
    if kind is None:
        raise ConfigError(f'{cfg.filename}: {entry.key}.type: no data set {entry.cfg["type"]!r}. Is the module that '
                          'registers it listed under custom_imports?')
    findings = Findings(entry.key, _SCOPES[scope], _COUNTED[_SCOPES[scope]])
    if scope == 'mmdet' and entry.kind in ('coco', 'voc'):
        findings.class_names = class_names(entry, kind)
        reader = coco_samples if entry.kind == 'coco' else voc_samples
        findings.samples, findings.general = reader(entry, findings.class_names)
    else:
        _listed_by_class(entry, findings)
    if not findings.samples and not findings.general:
        findings.general.append(Problem('no samples', entry.root or entry.key, 'the data set is empty'))
    return findings


def _build(entry: DatasetEntry, **changes: Any) -> Any:
    return DATASETS.build({**entry.cfg, 'pipeline': [], **changes})


def check_start(entry: DatasetEntry, findings: Findings) -> None:
    """Build the data set as a run does: if that stops while nothing else was found, its word is the problem."""
    if findings.problems():
        return
    try:
        _build(entry)
    except Exception as error:  # whatever stops here stops a run
        findings.general.append(Problem('data set cannot be built', entry.root or entry.key, _words(error)))


def _words(error: Exception) -> str:
    return f'{type(error).__name__}: {error}'


def _listed_by_class(entry: DatasetEntry, findings: Findings) -> None:
    try:
        dataset = _build(entry, lazy_init=True)
    except Exception as error:  # a wrong argument, classes that do not fit: nothing can be listed
        findings.general.append(Problem('data set cannot be built', entry.root or entry.key, _words(error)))
        return
    findings.class_names = tuple(dataset.metainfo.get('classes') or ())
    try:
        infos = dataset.load_data_list()
    except Exception as error:  # the class stops at the first broken sample; the others are wanted as well
        infos = _listed_singly(dataset, findings)
        if infos is None:
            findings.general.append(Problem('data set cannot be listed', entry.root or entry.key, _words(error)))
            return
    findings.samples += [_sample(info) for info in infos]


def _sample(info: dict) -> Sample:
    name = next((info[key] for key in MAIN_KEYS if info.get(key)), str(info)[:80])
    return Sample(name, info)


def _listed_singly(dataset: Any, findings: Findings) -> list[dict] | None:
    """Samples of a set whose own listing failed; None where there is no way known."""
    prefix = dataset.data_prefix or {}
    if findings.kind == 'points':
        return _info_files(dataset, findings)
    if findings.kind == 'restoration':
        return _pairs(dataset, prefix, findings)
    if findings.kind != 'segmentation':
        return None
    if _has_columns(dataset.ann_file):
        return _columns(dataset, findings)
    from mmseg.datasets import BaseSegDataset

    try:
        return BaseSegDataset.load_data_list(dataset)
    except (OSError, AssertionError):
        return None


def _has_columns(path: str) -> bool:
    """Whether most lines of a list name three files."""
    if not os.path.isfile(path or ''):
        return False
    with open(path, encoding='utf-8', errors='replace') as file:
        counts = [len(line.split('\t') if '\t' in line else line.split()) for line in file if line.strip()]
    return 2 * counts.count(len(RGBD_COLUMNS)) > len(counts)


def _columns(dataset: Any, findings: Findings) -> list[dict]:
    """A list of image, mask and depth map a line."""
    found = []
    with open(dataset.ann_file, encoding='utf-8', errors='replace') as file:
        for number, line in enumerate(file, 1):
            columns = line.rstrip('\r\n').split('\t') if '\t' in line else line.split()
            if len(columns) == len(RGBD_COLUMNS):
                paths = (os.path.join(dataset.data_root or '', path) for path in columns)
                found.append(dict(zip(RGBD_COLUMNS, paths, strict=True), label_map=dataset.label_map,
                                  reduce_zero_label=dataset.reduce_zero_label, seg_fields=[]))
            elif columns:
                findings.general.append(Problem(
                    'broken list', dataset.ann_file, f'line {number}: {len(columns)} columns, expected image, mask and '
                                                     'depth map, separated by tabs'))
    return found


def _folder(folder: str, template: str, suffixes: tuple[str, ...]) -> dict[str, str]:
    """Files of a folder by the common name that a template such as '{}x2' leaves."""
    pattern = re.compile(re.escape(template).replace(r'\{\}', '(.+)'))
    found = {}
    for name in sorted(os.listdir(folder)):
        stem, suffix = os.path.splitext(name)
        if suffix in suffixes and (match := pattern.fullmatch(stem)):
            found[match[1]] = os.path.join(folder, name)
    return found


def _pairs(dataset: Any, prefix: dict[str, str], findings: Findings) -> list[dict] | None:
    """Pairs of two folders of images; what has no partner is a problem."""
    if dataset.ann_file or not all(map(os.path.isdir, prefix.values())):
        return None
    files = {kind: _folder(folder, dataset.filename_tmpl[kind], dataset.img_suffix)
             for kind, folder in prefix.items()}
    everything = sorted(set().union(*files.values()))
    for key in everything:
        for kind in (kind for kind in files if key not in files[kind]):
            other = next(found[key] for found in files.values() if key in found)
            findings.general.append(Problem('missing partner', other, f'no {dataset.filename_tmpl[kind].format(key)}.* '
                                                                      f'in {prefix[kind]} (data_prefix.{kind})'))
    return [dict(key=key, scale=dataset.scale, **{f'{kind}_path': found[key] for kind, found in files.items()})
            for key in everything if all(key in found for found in files.values())]


def _info_files(dataset: Any, findings: Findings) -> list[dict] | None:
    """Scenes of mmdet3d's info files, each parsed for itself."""
    infos = []
    for name in getattr(dataset, 'ann_files', [dataset.ann_file]):
        path = name if os.path.isabs(name) or os.path.isfile(name) else os.path.join(dataset.data_root or '', name)
        try:
            with open(path, 'rb') as file:
                raw = pickle.load(file)['data_list']
        except Exception as error:  # pickle answers broken bytes with nearly any exception
            findings.general.append(Problem('broken annotation file', path,
                                            f'no info file of mmdet3d: {_words(error)}'))
            continue
        for index, info in enumerate(raw):
            try:
                infos.append(dataset.parse_data_info(info))
            except Exception as error:  # a key that is missing shows in many ways
                findings.general.append(Problem('broken annotation', path, f'scene {index}: {_words(error)}'))
    return infos
