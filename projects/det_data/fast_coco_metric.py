"""mmdet's `CocoMetric` with the compiled evaluator of faster-coco-eval, and without the detour over JSON files.

mmdet writes the detections to a JSON file, reads it, copies it into pycocotools' index and matches in Python. Here
they go to the compiled matcher from memory. The numbers are pycocotools': its own `summarize` computes them from the
compiled precision and recall arrays.
"""

import contextlib
import io
import tempfile
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from mmdet.datasets.api_wrappers import COCO, COCOeval
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS
from mmengine.logging import MMLogger
from pycocotools import mask as mask_utils
from terminaltables import AsciiTable

from .errors import AnnotationError
from .proposal_recall import average_recalls

try:
    from faster_coco_eval import COCOeval_faster
except ImportError:
    COCOeval_faster = None

STATS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l', 'AR@100', 'AR@300', 'AR@1000', 'AR_s@1000', 'AR_m@1000',
         'AR_l@1000')
"""mmdet's names of the twelve numbers that pycocotools summarises, in its order."""


class Detections:
    """Detections of a data set in the form that the evaluator asks for: pycocotools' COCO without its index.

    Args:
        annotations: dicts with `id`, `image_id`, `category_id`, `score`, `bbox`, `area`, `iscrowd`, and for masks
            `segmentation`; of images and categories that are evaluated.
        images: image id -> dict with `height` and `width`.
    """

    def __init__(self, annotations: list[dict], images: dict[int, dict]) -> None:
        self.annotations, self.imgs = annotations, images

    def getAnnIds(self, imgIds=(), catIds=()) -> list[int]:  # noqa: N802, N803 (pycocotools' names)
        """Places of all annotations."""
        return range(len(self.annotations))

    def loadAnns(self, ids) -> list[dict]:  # noqa: N802
        """All annotations."""
        return self.annotations


def detection_dicts(preds: Sequence[dict], cat_ids: Sequence[int], kind: str) -> Iterator[dict]:
    """COCO's dict of every detection, numbered from 1.

    Args:
        preds: of each image `img_id`, `labels` (n,), `bboxes` (n, 4) as x1, y1, x2, y2, `scores` (n,); for masks
            `masks`, n run-length encodings, and perhaps `mask_scores` (n,).
        cat_ids: category id of each label.
        kind: 'bbox' or 'segm'; it decides which area counts.
    """
    number = 0
    for pred in preds:
        boxes = pred['bboxes'].astype(float).reshape(-1, 4)
        boxes[:, 2:] -= boxes[:, :2]
        areas, scores, masks = boxes[:, 2] * boxes[:, 3], pred['scores'], [None] * len(boxes)
        if kind == 'segm':
            masks, scores = pred['masks'], pred.get('mask_scores', scores)
            areas = mask_utils.area(masks) if masks else areas
        rows = zip(pred['labels'].tolist(), boxes.tolist(), areas.tolist(), scores.tolist(), masks, strict=True)
        for label, box, area, score, mask in rows:
            number += 1
            yield dict(id=number, image_id=pred['img_id'], category_id=cat_ids[label], bbox=box, area=area,
                       score=score, iscrowd=0, segmentation=mask)


class FasterEval(COCOeval):
    """pycocotools' evaluator whose matching and accumulation are faster-coco-eval's.

    `params`, `eval` (`precision`, `recall`), `summarize` and `stats` are those of the class it derives from.
    """

    def evaluate(self) -> None:
        """Match detections and truth, and accumulate."""
        compiled = COCOeval_faster(self.cocoGt, self.cocoDt, self.params.iouType)
        for name in ('imgIds', 'catIds', 'maxDets', 'iouThrs', 'useCats'):
            setattr(compiled.params, name, getattr(self.params, name))
        compiled.evaluate()
        compiled.accumulate()
        self.params.maxDets = sorted(self.params.maxDets)
        self.eval = compiled.eval

    def accumulate(self, p=None) -> None:
        """Nothing is left to do."""


def rounded(value: np.floating) -> float:
    """Three decimals, by numpy's rule for ties as in mmdet, which is not that of Python's floats."""
    return float(np.round(value, 3))


@cache
def warn_of_slow_evaluation() -> None:
    """One warning a process that the compiled evaluator is missing."""
    MMLogger.get_current_instance().warning(
        'faster-coco-eval is not installed: COCO metrics come from pycocotools, several times slower. Install it with '
        'pip install faster-coco-eval')


@METRICS.register_module()
class FastCocoMetric(CocoMetric):
    """COCO's metrics of boxes, masks and proposals; arguments, names and numbers of mmdet's `CocoMetric`.

    Without faster-coco-eval, or with ids that are no integers, it is `CocoMetric`, after a warning. JSON files are
    written only with `outfile_prefix`. `use_mp_eval` has no effect: one process is faster than mmdet's many.

    Args:
        args, kwargs: those of `CocoMetric`.

    Raises:
        AnnotationError: from `compute_metrics`: detections of an image that the annotation file does not list.
    """

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Evaluate `results`, one (truth, prediction) an image; see `CocoMetric.process`."""
        if self.format_only:
            return super().compute_metrics(results)
        if COCOeval_faster is None:
            warn_of_slow_evaluation()
            return super().compute_metrics(results)
        truths, preds = zip(*results, strict=True)
        self._prepare(truths, preds)
        if not all(isinstance(number, int) for number in (*self.img_ids, *self._coco_api.anns)):
            MMLogger.get_current_instance().warning('Ids of images or annotations are no integers, which '
                                                    'faster-coco-eval needs: COCO metrics come from pycocotools.')
            return super().compute_metrics(results)
        metrics = OrderedDict()
        for kind in self.metrics:
            MMLogger.get_current_instance().info(f'Evaluating {kind}...')
            if kind == 'proposal_fast':
                recalls = self.fast_eval_recall(preds, self.proposal_nums, self.iou_thrs)
                own = {f'AR@{number}': recall for number, recall in zip(self.proposal_nums, recalls, strict=True)}
                MMLogger.get_current_instance().info('  '.join(f'{name} {value:.4f}' for name, value in own.items()))
                metrics.update(own)
                continue
            evaluation = self._evaluate(kind, preds)
            if evaluation is None:
                break
            metrics.update(self._report(kind, evaluation))
        return metrics

    def _prepare(self, truths: Sequence[dict], preds: Sequence[dict]) -> None:
        """Read or make the annotations, and write the files that `outfile_prefix` asks for."""
        with tempfile.TemporaryDirectory() as folder:
            if self._coco_api is None:
                path = self.gt_to_coco_json(truths, self.outfile_prefix or str(Path(folder) / 'results'))
                self._coco_api = COCO(path)
        if self.cat_ids is None:
            self.cat_ids = self._coco_api.get_cat_ids(cat_names=self.dataset_meta['classes'])
        if self.img_ids is None:
            self.img_ids = self._coco_api.get_img_ids()
        if self.outfile_prefix is not None:
            self.results2json(preds, self.outfile_prefix)

    def fast_eval_recall(self, results: Sequence[dict], proposal_nums: Sequence[int], iou_thrs: Sequence[float],
                         logger: MMLogger | None = None) -> np.ndarray:
        """Average recall among the first `proposal_nums` boxes of each image; ignored and crowd objects do not count.

        mmdet's own stops with a ValueError where images differ in their numbers of boxes (numpy 1.24 and later).

        Args:
            results: of each image `img_id` and `bboxes` (n, 4) as x1, y1, x2, y2, the best first.
            proposal_nums: numbers of boxes.
            iou_thrs: IoU thresholds.
            logger: not used.

        Returns:
            (len(proposal_nums),).
        """
        boxes = defaultdict(list)
        for item in self._coco_api.load_anns(self._coco_api.get_ann_ids()):
            if not item.get('ignore', False) and not item['iscrowd']:
                x, y, width, height = item['bbox']
                boxes[item['image_id']].append((x, y, x + width, y + height))
        truths = [np.array(boxes[item['img_id']]).reshape(-1, 4) for item in results]
        return average_recalls(truths, [item['bboxes'] for item in results], proposal_nums, np.atleast_1d(iou_thrs))

    def _evaluate(self, kind: str, preds: Sequence[dict]) -> FasterEval | None:
        """Evaluate 'bbox', 'segm' or 'proposal'; None if nothing was detected in any image."""
        iou_type = 'bbox' if kind == 'proposal' else kind
        if iou_type == 'segm' and 'masks' not in preds[0]:
            raise KeyError('segm is not in results')
        annotations = list(detection_dicts(preds, self.cat_ids, iou_type))
        if not annotations:
            MMLogger.get_current_instance().error('The testing results of the whole dataset is empty.')
            return None
        unknown = {pred['img_id'] for pred in preds if len(pred['labels'])}.difference(self.img_ids)
        if unknown:
            raise AnnotationError(
                f'FastCocoMetric: there are detections of {len(unknown)} images that its ann_file does not list, for '
                f'example img_id {min(unknown)}. Expected the annotation file of the data set that was tested: is '
                'test_evaluator.ann_file that of test_dataloader.dataset?')
        evaluation = FasterEval(self._coco_api, Detections(annotations, self._coco_api.imgs), iou_type)
        evaluation.params.catIds, evaluation.params.imgIds = self.cat_ids, self.img_ids
        evaluation.params.maxDets, evaluation.params.iouThrs = list(self.proposal_nums), np.atleast_1d(self.iou_thrs)
        evaluation.params.useCats = int(kind != 'proposal')
        evaluation.evaluate()
        with contextlib.redirect_stdout(io.StringIO()) as summary:
            evaluation.summarize()
        MMLogger.get_current_instance().info('\n' + summary.getvalue())
        return evaluation

    def _report(self, kind: str, evaluation: FasterEval) -> dict[str, float]:
        """The numbers that mmdet reports, rounded to three decimals as there."""
        stats = dict(zip(STATS, evaluation.stats, strict=True))
        for item in self.metric_items or ():
            if item not in stats:
                raise KeyError(f'metric item "{item}" is not supported')
        if kind == 'proposal':
            items, prefix, metrics = self.metric_items or STATS[6:], '', {}
        else:
            items, prefix = self.metric_items or STATS[:6], f'{kind}_'
            metrics = self._per_class(evaluation.eval['precision']) if self.classwise else {}
        return {**metrics, **{prefix + item: rounded(stats[item]) for item in items}}

    def _per_class(self, precision: np.ndarray) -> dict[str, float]:
        """Average precision of each class, and a table of it by IoU and area in the log.

        Args:
            precision: (IoU thresholds, recalls, classes, areas, numbers of detections), -1 where there is none.
        """
        at_50, at_75 = (np.isclose(self.iou_thrs, threshold) for threshold in (0.5, 0.75))
        rows, metrics = [], {}
        for index, category in enumerate(self._coco_api.load_cats(sorted(self.cat_ids))):  # the evaluator's order
            own = precision[:, :, index, :, -1]
            parts = (own[..., 0], own[at_50, :, 0], own[at_75, :, 0], own[..., 1], own[..., 2], own[..., 3])
            values = [rounded(part[part > -1].mean()) if (part > -1).any() else float('nan') for part in parts]
            rows.append([category['name'], *map(str, values)])
            metrics[f'{category["name"]}_precision'] = values[0]
        table = AsciiTable([['category', *STATS[:6]], *rows])
        MMLogger.get_current_instance().info('\n' + table.table)
        return metrics
