"""Times COCO evaluation: mmdet's `CocoMetric` beside `FastCocoMetric`, on the same drawn detections, in one process.

Timed is `compute_metrics`: from the detections in memory, as a test run gathers them, to the metrics. The annotation
file is read before. Both results must agree, or the command fails.
"""

import argparse
import json
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from mmengine.logging import MMLogger

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.runtime.atomic import write_atomic
from projects.runtime.command_line import run_tool
from projects.runtime.errors import UserError

SIZE = (640, 480)
EPILOG = """
As many images as COCO's val2017, 100 detections each (minutes, most of them in mmdet's metric):

  python tools/analysis_tools/benchmark_coco_eval.py

The compiled one alone, several times:

  python tools/analysis_tools/benchmark_coco_eval.py --metrics FastCocoMetric --repeat 5
"""


def draw_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """`count` boxes (x1, y1, x2, y2) within the image, of sides from 4 pixels up, small ones most often."""
    sides = np.exp(rng.uniform(np.log(4), np.log(SIZE[1]), (count, 2)))
    corner = rng.uniform(0, 1, (count, 2)) * (np.array(SIZE) - sides)
    return np.concatenate([corner, corner + sides], 1)


def synthetic(images: int, detections: int, classes: int, seed: int = 0) -> tuple[dict, list[dict]]:
    """A COCO annotation file and detections of a passable detector.

    Every image has about 7 objects (COCO's mean) of up to 5 classes, one in 50 of them a crowd, and one image in 100
    none. A third of the detections are objects' boxes moved a little, with higher scores; scores have two decimals, so
    that ties occur.

    Returns:
        The annotation file's content, and of each image `img_id`, `bboxes` (n, 4), `scores` (n,), `labels` (n,).
    """
    rng = np.random.default_rng(seed)
    content = dict(
        images=[dict(id=index, file_name=f'{index:06d}.jpg', width=SIZE[0], height=SIZE[1])
                for index in range(images)],
        categories=[dict(id=label + 1, name=f'class {label}') for label in range(classes)], annotations=[])
    predictions = []
    for image in range(images):
        count = 0 if image % 100 == 99 else 1 + rng.poisson(6)
        labels = rng.choice(rng.integers(0, classes, 5), count)
        boxes = draw_boxes(rng, count)
        for label, (x1, y1, x2, y2), crowd in zip(labels, boxes, rng.random(count) < 0.02, strict=True):
            content['annotations'].append(dict(
                id=len(content['annotations']) + 1, image_id=image, category_id=int(label) + 1, iscrowd=int(crowd),
                bbox=[x1, y1, x2 - x1, y2 - y1], area=(x2 - x1) * (y2 - y1)))
        hits = rng.integers(0, count, detections // 3) if count else np.zeros(0, int)
        sides = np.tile(boxes[hits, 2:] - boxes[hits, :2], 2)
        moved = boxes[hits] + rng.normal(0, 0.08, (len(hits), 4)) * sides
        others = draw_boxes(rng, detections - len(hits))
        near = labels if count else np.arange(classes)
        predictions.append(dict(
            img_id=image, bboxes=np.concatenate([moved, others]).astype(np.float32),
            labels=np.concatenate([labels[hits], rng.choice(near, len(others))]),
            scores=np.round(np.concatenate([rng.beta(5, 2, len(hits)), rng.beta(1, 5, len(others))]),
                            2).astype(np.float32)))
    return content, predictions


def prepare(names: list[str], content: dict) -> dict[str, object]:
    """The metrics by name, with the annotations read.

    Raises:
        UserError: faster-coco-eval is not installed.
    """
    from projects.det_data import fast_coco_metric

    if fast_coco_metric.COCOeval_faster is None:
        raise UserError('faster-coco-eval is not installed: FastCocoMetric would be CocoMetric. '
                        'Install it with pip install faster-coco-eval')
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(None):
        path = Path(folder) / 'annotations.json'
        path.write_text(json.dumps(content), encoding='utf-8')
        metrics = {name: getattr(fast_coco_metric, name)(ann_file=str(path)) for name in names}
    for metric in metrics.values():
        metric.dataset_meta = dict(classes=[item['name'] for item in content['categories']])
    return metrics


def measure(metrics: dict[str, object], predictions: list[dict], repeat: int) -> tuple[dict, dict]:
    """(seconds, seconds of CPU) of every metric, `repeat` times in turn, and what they found."""
    seconds, found = {name: [] for name in metrics}, {}
    for turn in range(repeat):
        for name, metric in metrics.items():
            print(f'[{turn + 1}/{repeat}] {name} ...', flush=True)
            start = np.array([time.perf_counter(), time.process_time()])
            with redirect_stdout(None):
                found[name] = dict(metric.compute_metrics([({}, item) for item in predictions]))
            took = np.array([time.perf_counter(), time.process_time()]) - start
            seconds[name].append(took.round(3).tolist())
            print(f'[{turn + 1}/{repeat}] {name}: {took[0]:.2f} s, mAP {found[name]["bbox_mAP"]}', flush=True)
    return seconds, found


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=5000, help='default: 5000')
    parser.add_argument('--detections', type=int, default=100, help='in each image (default: 100)')
    parser.add_argument('--classes', type=int, default=80, help='default: 80')
    parser.add_argument('--metrics', nargs='+', choices=['CocoMetric', 'FastCocoMetric'], metavar='METRIC',
                        default=['CocoMetric', 'FastCocoMetric'], help='default: CocoMetric FastCocoMetric')
    parser.add_argument('--repeat', type=int, default=3, help='times each is run; medians are reported (default: 3)')
    parser.add_argument('--out', type=Path, metavar='FILE.json', help='write settings and seconds there')
    args = parser.parse_args(argv)
    if min(args.images, args.detections, args.classes, args.repeat) < 1:
        parser.error('--images, --detections, --classes and --repeat: expected numbers above 0')
    return args


def main(argv=None) -> None:
    args = parse_args(argv)
    MMLogger.get_current_instance().setLevel('ERROR')  # the metrics' own tables
    content, predictions = synthetic(args.images, args.detections, args.classes)
    seconds, found = measure(prepare(args.metrics, content), predictions, args.repeat)
    medians = {name: np.median(values, 0) for name, values in seconds.items()}
    for name, values in seconds.items():
        clock = [value[0] for value in values]
        print(f'{name}: median {medians[name][0]:.2f} s of {args.repeat} ({min(clock):.2f} to {max(clock):.2f}), '
              f'{medians[name][1]:.2f} s of CPU')
    results = list(found.values())
    if any(result != results[0] for result in results):
        raise UserError(f'the metrics disagree: {found}')
    if len(medians) == 2:
        ratio = medians['CocoMetric'] / medians['FastCocoMetric']
        print(f'{args.images} images x {args.detections} detections: {ratio[0]:.1f} times faster ({ratio[1]:.1f} in '
              'seconds of CPU, which other programs disturb less), same numbers')
    if args.out:
        write_atomic(args.out, json.dumps(dict(
            images=args.images, detections=args.detections, classes=args.classes, seconds=seconds, metrics=results[0]),
            indent=1))


if __name__ == '__main__':
    run_tool(main)
