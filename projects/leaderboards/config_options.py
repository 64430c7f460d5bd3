"""What the config of a test set says already: the options of a track, read from it."""
from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .tracks import get_track, option_names


def config_options(track: str, dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a track that the config of its test set knows.

    Args:
        track: Name out of ``TRACKS``.
        dataset: Config of the data set, with ``data_root``, ``ann_file``, ``data_prefix`` and ``metainfo`` as in
            mmengine. Files are not looked for, except those that a config does not name (ScanNet's).

    Returns:
        Options of the track's writer or validator, by name.
    """
    reader = _READERS[track]
    entry = get_track(track)
    known = {*option_names(entry.write), *option_names(entry.validate)}
    return {name: value for name, value in reader(dataset).items() if name in known and value is not None}


def _path(dataset: Mapping[str, Any], *parts: str | None) -> str | None:
    """A path below the data set's root; None if a part of it is not stated."""
    return None if None in parts else os.path.join(dataset.get('data_root') or '', *parts)


def _prefix(dataset: Mapping[str, Any], key: str) -> str | None:
    return (dataset.get('data_prefix') or {}).get(key)


def _classes(dataset: Mapping[str, Any]) -> list[str] | None:
    names = (dataset.get('metainfo') or {}).get('classes')
    return None if names is None else [names] if isinstance(names, str) else list(names)


def _year(path: str | None) -> str | None:
    found = re.findall(r'VOC(\d{4})(?=/|$)', path or '')
    return found[-1] if found else None


def _coco(dataset: Mapping[str, Any]) -> dict[str, Any]:
    return dict(ann_file=_path(dataset, dataset.get('ann_file')), classes=_classes(dataset))


def _voc_detection(dataset: Mapping[str, Any]) -> dict[str, Any]:
    images = _path(dataset, _prefix(dataset, 'sub_data_root'), dataset.get('img_subdir', 'JPEGImages'))
    return dict(image_set=_path(dataset, dataset.get('ann_file')), image_dir=images, classes=_classes(dataset),
                year=_year(images))


def _segmentation(dataset: Mapping[str, Any]) -> dict[str, Any]:
    images = _path(dataset, _prefix(dataset, 'img_path'))
    return dict(image_set=_path(dataset, dataset.get('ann_file') or None), image_dir=images, year=_year(images))


def _scannet(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The list of the split and the meshes, where the data set's layout has them."""
    split = re.search(r'_(train|val|test)\.pkl$', dataset.get('ann_file') or '')
    scenes = split and _path(dataset, 'meta_data', f'scannetv2_{split[1]}.txt')
    meshes = split and _path(dataset, 'scans_test' if split[1] == 'test' else 'scans')
    return dict(classes=_classes(dataset), scenes=scenes if scenes and Path(scenes).is_file() else None,
                mesh_dir=meshes if meshes and Path(meshes).is_dir() else None)


def _restoration(dataset: Mapping[str, Any]) -> dict[str, Any]:
    if (inputs := _prefix(dataset, 'img')) is not None:
        return dict(image_dir=_path(dataset, inputs), scale=dataset.get('scale'))
    return dict(image_dir=_path(dataset, _prefix(dataset, 'gt')))  # results are called after the truth


_READERS = {'coco-det': _coco, 'voc-det': _voc_detection, 'voc-seg': _segmentation, 'cityscapes-seg': _segmentation,
            'scannet-instance': _scannet, 'scannet-semantic': _scannet, 'ntire-sr': _restoration}
