"""Metrics of 3D instance segmentation whose masks may overlap.

mmdet3d's `InstanceSegMetric` takes one instance a point, which cannot express the nested candidates of a grouping
method. A sample is reduced to counts where it was predicted (:mod:`.instance_ap`, :mod:`.precision_recall`), so what
processes exchange is a few kilobytes a scene, and results do not depend on how many processes there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmdet3d.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from terminaltables import AsciiTable

from .instance_ap import MIN_REGION, average_precision, overlap_scene, summarize
from .precision_recall import count_room, flatten, precision_recall
from .scene_files import IndoorDataError

_AP = ('AP', 'AP50', 'AP25')
_PR = dict(mPrec='precision', mRec='recall', mCov='cov', mWCov='wcov')


def to_numpy(value: Any) -> np.ndarray:
    """A tensor, array or list as an array on the CPU."""
    return value.detach().cpu().numpy() if hasattr(value, 'detach') else np.asarray(value)


def _table(classes: Sequence[str], columns: Mapping[str, np.ndarray], means: Mapping[str, float]) -> str:
    """Per-class figures in per cent; '-' for classes without ground truth."""
    def cell(value: float) -> str:
        return '-' if np.isnan(value) else f'{100 * value:.1f}'

    rows = [[name, *(cell(column[index]) for column in columns.values())] for index, name in enumerate(classes)]
    table = AsciiTable([['class', *means], *rows, ['mean', *(cell(value) for value in means.values())]])
    table.inner_footing_row_border = True
    return table.table


class _InstanceMetric(BaseMetric):
    """What both data sets share: reading samples, AP, the table."""

    def __init__(self, void_classes: Sequence[str], min_region: int, classwise: bool, collect_device: str,
                 prefix: str | None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.void_classes, self.min_region, self.classwise = tuple(void_classes), min_region, classwise

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes of the data set; labels are indices into them."""
        return tuple(self.dataset_meta['classes'])

    @property
    def valid_labels(self) -> list[int]:
        """Labels of the classes that are evaluated."""
        strangers = [name for name in self.void_classes if name not in self.classes]
        if strangers:
            raise ValueError(f'void_classes of {type(self).__name__}: {", ".join(strangers)} are no classes of the '
                             f'data set; it has {", ".join(self.classes)}')
        return [label for label, name in enumerate(self.classes) if name not in self.void_classes]

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Reduce the samples of a batch to counts, one element of `results` for each.

        Args:
            data_batch: Not used.
            data_samples: Dicts with `eval_ann_info` and `pred_pts_seg`, see the class.

        Raises:
            IndoorDataError: A scene without annotations, as those of a test split.
            ValueError: Predictions whose shapes do not fit the scene.
        """
        for sample in data_samples:
            where = sample.get('lidar_path', 'a scene')
            truth = sample.get('eval_ann_info') or {}
            if 'pts_semantic_mask' not in truth or 'pts_instance_mask' not in truth:
                raise IndoorDataError(
                    f'{where}: no ground truth (eval_ann_info lacks pts_semantic_mask or pts_instance_mask). Expected '
                    'a split with masks, read in test_mode; predictions of the test split are written with '
                    'tools/test.py --out and tools/submit.py, without this metric')
            predicted = sample['pred_pts_seg']
            semantic, instance = (to_numpy(truth[key]) for key in ('pts_semantic_mask', 'pts_instance_mask'))
            masks, labels, scores = (to_numpy(predicted[key])
                                     for key in ('pts_instance_mask', 'instance_labels', 'instance_scores'))
            if masks.ndim != 2 or masks.shape != (len(labels), len(semantic)) or len(scores) != len(labels):
                raise ValueError(f'{where}: pts_instance_mask {masks.shape}, instance_labels {labels.shape}, '
                                 f'instance_scores {scores.shape}; expected (K, N), (K,), (K,) with N = '
                                 f'{len(semantic)} points of the scene')
            own = predicted.get('pts_semantic_mask')
            self.results.append(self.reduce(semantic, instance, masks.astype(bool, copy=False), labels, scores,
                                            None if own is None else to_numpy(own)))

    def reduce(self, semantic: np.ndarray, instance: np.ndarray, masks: np.ndarray, labels: np.ndarray,
               scores: np.ndarray, predicted_semantic: np.ndarray | None) -> dict:
        """Counts of one scene; all that is kept of it."""
        return overlap_scene(semantic, instance, masks, labels, scores, self.valid_labels, self.min_region)

    def _report(self, columns: Mapping[str, np.ndarray], means: dict[str, float]) -> dict[str, float]:
        names = [self.classes[label] for label in self.valid_labels]
        print_log('\n' + _table(names, columns, means), logger='current')
        figures = dict(means)
        if self.classwise:
            figures.update({f'{name}_{key}': float(column[index]) for key, column in zip(means, columns.values(),
                                                                                         strict=True)
                            for index, name in enumerate(names)})
        return figures


@METRICS.register_module()
class ScanNetInstanceMetric(_InstanceMetric):
    """ScanNet's instance AP: `AP` (mean over IoU 0.50 to 0.90), `AP50`, `AP25`; fractions of 1.

    Samples: `pred_pts_seg` with `pts_instance_mask` (K, N) bool, `instance_labels` (K,), `instance_scores` (K,);
    `eval_ann_info` with `pts_semantic_mask` (N,) and `pts_instance_mask` (N,), -1 for none. Labels are indices into the
    data set's `classes`; true labels outside them, and those of `void_classes`, are void. For the best checkpoint, say
    `save_best='scannet/AP50', rule='greater'`.

    Args:
        void_classes: Names of classes that are no instances.
        min_region: Instances of fewer points do not count.
        classwise: Also return the figures of each class, as `chair_AP50`; NaN without ground truth.
        collect_device: 'cpu' or 'gpu'.
        prefix: First part of the figures' names.
    """

    default_prefix = 'scannet'

    def __init__(self, void_classes: Sequence[str] = ('wall', 'floor'), min_region: int = MIN_REGION,
                 classwise: bool = False, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(void_classes, min_region, classwise, collect_device, prefix)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """The figures over all scenes; logs the table of classes."""
        found = summarize(average_precision(results, self.valid_labels, min_region=self.min_region))
        return self._report({key: found[f'class_{key}'] for key in _AP}, {key: found[key] for key in _AP})


@METRICS.register_module()
class S3DISInstanceMetric(_InstanceMetric):
    """S3DIS's instance figures: AP as on ScanNet, and ASIS's precision, recall and coverage; fractions of 1.

    `AP`, `AP50`, `AP25`, `mPrec`, `mRec`, `mCov`, `mWCov`. All classes are instances. Samples as in
    :class:`ScanNetInstanceMetric`. For the last four, overlapping masks are painted in ascending order of their scores
    [inferred], and a predicted instance has the class that is most frequent in `pts_semantic_mask` (N,) of
    `pred_pts_seg`; without that, its own label.

    Args:
        iou_thr: IoU from which on a prediction is right, for precision and recall.
        min_region: Instances of fewer points do not count for AP.
        classwise: Also return the figures of each class, as `chair_mPrec`; NaN without ground truth.
        collect_device: 'cpu' or 'gpu'.
        prefix: First part of the figures' names.
    """

    default_prefix = 's3dis'

    def __init__(self, iou_thr: float = 0.5, min_region: int = MIN_REGION, classwise: bool = False,
                 collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__((), min_region, classwise, collect_device, prefix)
        self.iou_thr = iou_thr

    def reduce(self, semantic: np.ndarray, instance: np.ndarray, masks: np.ndarray, labels: np.ndarray,
               scores: np.ndarray, predicted_semantic: np.ndarray | None) -> dict:
        """Counts of one room; all that is kept of it."""
        painted = flatten(masks, scores)
        if predicted_semantic is None:
            predicted_semantic = np.append(labels, -1)[painted].astype(np.int64)
        overlaps = super().reduce(semantic, instance, masks, labels, scores, None)
        return dict(overlaps=overlaps, counts=count_room(
            semantic, instance, predicted_semantic, painted, len(self.classes), self.iou_thr))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """The figures over all rooms; logs the table of classes."""
        found = {**summarize(average_precision([result['overlaps'] for result in results], self.valid_labels,
                                               min_region=self.min_region)),
                 **precision_recall(result['counts'] for result in results)}
        columns = {**{key: found[f'class_{key}'] for key in _AP}, **{key: found[name] for key, name in _PR.items()}}
        return self._report(columns, {key: found[key] for key in (*_AP, *_PR)})
