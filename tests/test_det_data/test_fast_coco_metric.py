"""FastCocoMetric: pycocotools' numbers, mmdet's behaviour around them."""

import json

import numpy as np
import pytest
import torch
from mmdet.datasets.api_wrappers import COCO, COCOeval
from mmdet.evaluation import CocoMetric, eval_recalls
from mmdet.registry import METRICS
from mmengine.structures import InstanceData
from pycocotools import mask as mask_utils

from projects.det_data import FastCocoMetric, fast_coco_metric
from projects.det_data.errors import AnnotationError
from projects.det_data.fast_coco_metric import FasterEval
from projects.det_data.proposal_recall import average_recalls

CLASSES = ('cat', 'dog', 'cow')
HEIGHT, WIDTH = 120, 100


def rectangle(box):
    """Run-length encoding of a box (x, y, w, h), as a JSON file holds it."""
    x, y, w, h = (max(int(value), 0) for value in box)
    image = np.zeros((HEIGHT, WIDTH), np.uint8, order='F')
    image[y:y + h, x:x + w] = 1
    code = mask_utils.encode(image)
    return {**code, 'counts': code['counts'].decode()}


def draw(seed, images=14):
    """Annotations and predictions on a coarse grid, so that scores, overlaps and areas tie.

    Every fifth image has no object, some have no detection; some objects are crowds, and areas are not those of boxes.
    """
    rng = np.random.default_rng(seed)
    content = dict(
        images=[dict(id=7 * index + 3, width=WIDTH, height=HEIGHT, file_name='') for index in range(images)],
        categories=[dict(id=2 * label + 1, name=name) for label, name in enumerate(CLASSES)], annotations=[])
    predictions = []
    for index, image in enumerate(content['images']):
        boxes = np.concatenate([rng.integers(0, 60, (6, 2)), rng.integers(2, 40, (6, 2))], 1)[:0 if index % 5 == 4
                                                                                              else rng.integers(1, 6)]
        for box in boxes.tolist():
            content['annotations'].append(dict(
                id=len(content['annotations']) + 1, image_id=image['id'], category_id=int(rng.choice([1, 3, 5])),
                bbox=box, area=float(box[2] * box[3] * rng.choice([0.5, 1, 8])), iscrowd=int(rng.random() < 0.15),
                segmentation=rectangle(box)))
        found = np.concatenate([boxes + rng.integers(-2, 3, boxes.shape), boxes[:2],
                                np.concatenate([rng.integers(0, 60, (3, 2)), rng.integers(2, 40, (3, 2))], 1)])
        found = found[:rng.integers(0, len(found) + 1)].clip(0, None)
        found[:, 2:] = found[:, 2:].clip(1, None)
        corners = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], 1).astype(np.float32)
        predictions.append(dict(
            img_id=image['id'], bboxes=corners, labels=rng.integers(0, 3, len(found)),
            scores=(rng.integers(1, 8, len(found)) / 10).astype(np.float32), masks=[rectangle(box) for box in found]))
    return content, predictions


def build(kind, content, folder, **kwargs):
    path = folder / 'annotations.json'
    path.write_text(json.dumps(content))
    metric = kind(ann_file=str(path), **kwargs)
    metric.dataset_meta = dict(classes=CLASSES)
    return metric


def compute(metric, predictions):
    return dict(metric.compute_metrics([({}, {**item, 'masks': [dict(code) for code in item['masks']]})
                                        for item in predictions]))


@pytest.mark.parametrize('kind, categories', [('bbox', 1), ('bbox', 0), ('segm', 1)])
def test_precision_recall_and_summary_are_those_of_pycocotools(kind, categories):
    aps = []
    for seed in range(6):
        content, predictions = draw(seed)
        results = [dict(image_id=item['img_id'], category_id=int(2 * label + 1), score=float(score),
                        **(dict(segmentation=code) if kind == 'segm' else dict(bbox=[*box[:2], *(box[2:] - box[:2])])))
                   for item in predictions for label, score, box, code in zip(
                       item['labels'], item['scores'], item['bboxes'].astype(float), item['masks'], strict=True)]
        found = []
        for evaluator in (COCOeval, FasterEval):
            truth = COCO()
            truth.dataset = json.loads(json.dumps(content))
            truth.createIndex()
            evaluation = evaluator(truth, truth.loadRes(json.loads(json.dumps(results))), kind)
            evaluation.params.useCats = categories
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            found.append(evaluation)
        reference, fast = found
        for name in ('precision', 'recall', 'scores'):
            np.testing.assert_allclose(fast.eval[name], reference.eval[name], rtol=0, atol=1e-6)
        np.testing.assert_allclose(fast.stats, reference.stats, rtol=0, atol=1e-6)
        aps.append(reference.stats[0])
    assert sum(0 < ap < 0.95 for ap in aps) > 3  # neither all nothing nor all perfect


@pytest.mark.parametrize('kwargs', [
    dict(metric=['bbox', 'segm', 'proposal'], classwise=True),
    dict(metric='bbox', proposal_nums=(1, 10, 100), metric_items=['mAP', 'AR@100'])])
def test_metrics_are_mmdets_in_name_order_and_value(tmp_path, kwargs):
    content, predictions = draw(1)
    mine, mmdets = (compute(build(kind, content, tmp_path, **kwargs), predictions)
                    for kind in (FastCocoMetric, CocoMetric))
    assert list(mine) == list(mmdets) and len(mine) > 1
    assert mine == pytest.approx(mmdets, abs=1e-9)


def test_ids_that_are_no_integers_go_to_pycocotools(tmp_path):
    content, predictions = draw(1)
    for item in (*content['images'], *predictions):
        key = 'id' if 'id' in item else 'img_id'
        item[key] = f'image {item[key]}'
    for item in content['annotations']:
        item['image_id'] = f'image {item["image_id"]}'
    mine, mmdets = (compute(build(kind, content, tmp_path, metric='bbox'), predictions)
                    for kind in (FastCocoMetric, CocoMetric))
    assert mine == mmdets and mine['bbox_mAP'] > 0


def test_proposal_recall_is_mmdets_where_mmdets_runs(tmp_path):
    """mmdet's needs equal numbers of boxes in all images; else its ValueError would come through."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 40, (5, 9, 2))
    boxes = np.concatenate([first, first + rng.integers(1, 40, (5, 9, 2))], 2).astype(np.float32)
    order = [3, 8, 0, 5, 1, 6, 2, 7, 4]
    truths, proposals = list(boxes[:, :4]), list((boxes + rng.normal(0, 2, boxes.shape))[:, order])
    numbers, thresholds = (1, 3, 20), np.linspace(0.5, 0.95, 10)
    expected = eval_recalls(truths, proposals, np.array(numbers), thresholds).mean(1)
    np.testing.assert_allclose(average_recalls(truths, proposals, numbers, thresholds), expected, atol=1e-7)
    assert 0 < expected[0] < expected[1] < expected[2]
    content, predictions = draw(1)
    found = compute(build(FastCocoMetric, content, tmp_path, metric='proposal_fast'), predictions)
    assert list(found) == ['AR@100', 'AR@300', 'AR@1000'] and 0 < found['AR@100'] == found['AR@1000'] < 1


def test_categories_in_any_order_keep_their_names(tmp_path):
    content, predictions = draw(2)
    straight = compute(build(FastCocoMetric, content, tmp_path, classwise=True), predictions)
    content['categories'].reverse()
    order = [2, 1, 0]  # mmdet numbers labels in the file's order
    swapped = [{**item, 'labels': np.array(order)[item['labels']]} for item in predictions]
    assert compute(build(FastCocoMetric, content, tmp_path, classwise=True), swapped) == straight


def test_files_and_the_way_without_annotations(tmp_path):
    """Through `process`, as a runner calls it: truth from the samples, and JSON files where a prefix is given."""
    content, predictions = draw(3)
    samples = []
    for item in predictions:
        instances = [dict(bbox=[*a['bbox'][:2], a['bbox'][0] + a['bbox'][2], a['bbox'][1] + a['bbox'][3]],
                          bbox_label=(a['category_id'] - 1) // 2, ignore_flag=a['iscrowd'])
                     for a in content['annotations'] if a['image_id'] == item['img_id']]
        pred = InstanceData(**{key: torch.from_numpy(item[key]) for key in ('bboxes', 'labels', 'scores')})
        samples.append(dict(img_id=item['img_id'], ori_shape=(HEIGHT, WIDTH), instances=instances, pred_instances=pred))
    found = []
    for name in ('FastCocoMetric', 'CocoMetric'):
        prefix = str(tmp_path / name)
        metric = METRICS.build(dict(type=name, outfile_prefix=prefix))
        metric.dataset_meta = dict(classes=CLASSES)
        metric.process({}, samples)
        found.append((metric.evaluate(len(samples)), json.loads((tmp_path / f'{name}.bbox.json').read_text())))
    assert found[0] == found[1] and found[0][0]['coco/bbox_mAP'] > 0
    only = build(FastCocoMetric, content, tmp_path, format_only=True, outfile_prefix=str(tmp_path / 'only'))
    assert compute(only, predictions) == {} and (tmp_path / 'only.segm.json').is_file()


def test_nothing_detected_and_foreign_images(tmp_path):
    content, predictions = draw(4)
    empty = [{**item, **{key: item[key][:0] for key in ('bboxes', 'labels', 'scores', 'masks')}}
             for item in predictions]
    metric = build(FastCocoMetric, content, tmp_path)
    assert compute(metric, empty) == {}
    with pytest.raises(AnnotationError, match='img_id 1000000.*test_evaluator.ann_file'):
        compute(metric, [{**item, 'img_id': 10 ** 6} for item in predictions])


def test_without_the_package_pycocotools_serves_after_a_warning(tmp_path, monkeypatch):
    content, predictions = draw(5)
    expected = compute(build(FastCocoMetric, content, tmp_path), predictions)
    warnings = []
    fast_coco_metric.warn_of_slow_evaluation.cache_clear()
    monkeypatch.setattr(fast_coco_metric, 'COCOeval_faster', None)
    monkeypatch.setattr(fast_coco_metric.MMLogger, 'warning', lambda self, message: warnings.append(message))
    metric = build(FastCocoMetric, content, tmp_path)
    assert [compute(metric, predictions), compute(metric, predictions)] == [expected, expected]
    assert len(warnings) == 1 and 'pip install faster-coco-eval' in warnings[0]
