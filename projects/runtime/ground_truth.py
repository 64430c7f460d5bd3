"""Test sets without ground truth: those of leaderboards."""

from typing import Any

from mmengine.config import Config

from .dataset_configs import loads_labels, split_datasets


def leave_out_ground_truth(cfg: Config) -> None:
    """Change a config so that its test set needs no annotations: no metrics, no step that loads labels.

    Left out are `test_evaluator`, steps of the test pipelines whose type begins with `LoadAnnotations`, the folder of
    label images, and the XML files of `CheckedVOCDataset`. Lists of images (`ann_file`) are still read.
    """
    loaders = cfg.test_dataloader
    cfg.test_evaluator = [[] for _ in loaders] if isinstance(loaders, (list, tuple)) else []
    for entry in split_datasets(cfg, ('test',)):
        if 'pipeline' in entry.cfg:
            entry.cfg['pipeline'] = _without_labels(entry.cfg['pipeline'])
        (entry.cfg.get('data_prefix') or {}).pop('seg_map_path', None)
        if entry.cfg.get('type') == 'CheckedVOCDataset':
            entry.cfg['annotated'] = False
    if 'tta_pipeline' in cfg:
        cfg.tta_pipeline = _without_labels(cfg.tta_pipeline)


def _without_labels(part: Any) -> Any:
    """A pipeline, or steps within steps, without those that load labels."""
    if isinstance(part, dict):
        return type(part)({key: _without_labels(value) for key, value in part.items()})
    if isinstance(part, (list, tuple)):
        kept = [_without_labels(item) for item in part if not loads_labels(item)]
        return type(part)(item for item in kept if item != [])  # a branch of TestTimeAug that only loaded labels
    return part
