"""Which classes a model takes for which: a confusion matrix of predictions, as a picture and a CSV file.

PREDICTIONS is what tools/test.py --out wrote with the same config: of detectors a .pkl file, of segmentors the folder
of label images. Rows are true classes, columns predicted ones. For detection the last column counts objects that were
missed, the last row detections where no object is; detections and objects are paired by overlap alone, the closest
first, so that a box of the wrong class shows as such.
"""

import argparse
import csv
import io
import sys
from pathlib import Path

import cv2
import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
import numpy as np
from mmengine.config import Config, DictAction
from mmengine.registry import TRANSFORMS
from tqdm import tqdm

sys.path.append(str(Path(__file__).resolve().parents[2]))
sys.path.append(str(Path(__file__).resolve().parent))

from config_data import build_datasets, read_config
from confusion_counts import count_detections, count_pixels

from projects.leaderboards import SubmissionError, load_results
from projects.runtime.atomic import atomic_file, write_atomic
from projects.runtime.command_line import CFG_OPTIONS_HELP, parse, run_tool
from projects.runtime.errors import ConfigError, DataError

BACKGROUND = 'background'
EPILOG = """
Detection, boxes of score 0.3 and more:

  python tools/test.py configs/fcos_r50.py model.pth --out predictions.pkl
  python tools/analysis_tools/confusion_matrix.py configs/fcos_r50.py predictions.pkl

Segmentation:

  python tools/test.py configs/deeplabv3_r18_camvid.py model.pth --out labels/
  python tools/analysis_tools/confusion_matrix.py configs/deeplabv3_r18_camvid.py labels/
"""


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('predictions', type=Path, help='file or folder that tools/test.py --out wrote')
    parser.add_argument('--score-thr', type=float, default=0.3,
                        help='of detections: lowest score that counts (default: 0.3)')
    parser.add_argument('--iou-thr', type=float, default=0.5, help='of detections: IoU with the object (default: 0.5)')
    parser.add_argument('--out', type=Path, metavar='FILE.png',
                        help='picture; a .csv of the counts is written beside it (default: '
                        'work_dirs/CONFIG_NAME/confusion_matrix.png)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help=CFG_OPTIONS_HELP)
    args = parse(parser, argv)
    if not 0 <= args.score_thr <= 1 or not 0 < args.iou_thr <= 1:
        parser.error('--score-thr and --iou-thr: expected numbers from 0 to 1')
    return args


def read_predictions(path: Path) -> dict[int, dict]:
    """Predictions of a detector by `img_id`.

    Raises:
        DataError: no such file, or not one of a detector.
    """
    try:
        return {item['img_id']: item['pred_instances'] for item in load_results(path)}
    except SubmissionError as error:
        raise DataError(str(error)) from error
    except (KeyError, TypeError) as error:
        raise DataError(f'{path}: not the predictions of a detector: {error!r} is missing. Expected the .pkl that '
                        'tools/test.py --out writes') from error


def confuse_detections(dataset, args: argparse.Namespace) -> np.ndarray:
    """Counts over a detection set.

    Raises:
        DataError: predictions of other images.
    """
    predictions = read_predictions(args.predictions)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    missing = [info['img_id'] for info in infos if info['img_id'] not in predictions]
    if missing:
        raise DataError(f'{args.predictions}: {len(missing)} of {len(infos)} test images of {args.config} are not in '
                        f'it, for example img_id {missing[0]}. Expected predictions made with the same config')
    classes = len(dataset.metainfo['classes'])
    total = np.zeros((classes + 1, classes + 1), np.int64)
    for info in tqdm(infos, desc='images'):
        found = {key: np.asarray(predictions[info['img_id']][key]) for key in ('bboxes', 'scores', 'labels')}
        kept = found['scores'] >= args.score_thr
        boxes = np.array([item['bbox'] for item in info['instances']], dtype=float).reshape(-1, 4)
        labels = np.array([item['bbox_label'] for item in info['instances']], dtype=int)
        ignored = np.array([bool(item.get('ignore_flag')) for item in info['instances']], dtype=bool)
        if labels.max(initial=-1) >= classes or found['labels'].max(initial=-1) >= classes:
            raise DataError(f'{args.predictions}: img_id {info["img_id"]}: a label beyond the {classes} classes of '
                            f'{args.config}')
        total += count_detections(boxes[~ignored], labels[~ignored], found['bboxes'][kept].astype(float),
                                  found['labels'][kept], boxes[ignored], classes, args.iou_thr)
    return total


def truth_loader(dataset, cfg: Config):
    """The pipeline's own step that reads label images.

    Raises:
        ConfigError: there is none.
    """
    loader = cfg.test_dataloader.dataset
    while 'pipeline' not in loader and ('dataset' in loader or 'datasets' in loader):
        loader = loader.get('dataset') or loader['datasets'][0]
    steps = [step for step in loader.get('pipeline', []) if step['type'].split('.')[-1] == 'LoadAnnotations']
    if not steps:
        raise ConfigError(f'{cfg.filename}: the pipeline of test_dataloader.dataset has no LoadAnnotations, so the '
                          'true labels are not known')
    return TRANSFORMS.build(steps[0])


def confuse_pixels(dataset, cfg: Config, args: argparse.Namespace) -> np.ndarray:
    """Counts over a segmentation set.

    Raises:
        DataError: a label image is missing, of another size, or holds labels beyond the classes.
    """
    load, classes = truth_loader(dataset, cfg), len(dataset.metainfo['classes'])
    total = np.zeros((classes, classes), np.int64)
    for index in tqdm(range(len(dataset)), desc='images'):
        info = dataset.get_data_info(index)
        path = args.predictions / f'{Path(info["img_path"]).stem}.png'
        predicted = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if predicted is None:
            raise DataError(f'{path}: missing, or no image. Expected the folder that tools/test.py --out FOLDER wrote '
                            f'with {args.config}')
        truth = load(dict(info, seg_fields=[]))['gt_seg_map']
        if predicted.shape != truth.shape:
            raise DataError(f'{path}: {predicted.shape} (height, width), expected {truth.shape} as '
                            f'{info["seg_map_path"]}')
        if predicted.max() >= classes:
            raise DataError(f'{path}: label {predicted.max()}, expected less than the {classes} classes')
        total += count_pixels(truth, predicted, classes)
    return total


def write_csv(path: Path, counts: np.ndarray, names: list[str]) -> None:
    """The counts with the names of true classes (rows) and predicted ones (columns)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['true \\ predicted', *names])
    writer.writerows([name, *row] for name, row in zip(names, counts.tolist(), strict=True))
    write_atomic(path, text.getvalue())


def draw(path: Path, counts: np.ndarray, names: list[str], title: str) -> None:
    """Each row in per cent of its sum, numbers in the cells of at most 25 classes."""
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = max(5.0, 0.42 * len(names) + 2)
    figure, axes = plt.subplots(figsize=(side, side), layout='constrained')
    image = axes.imshow(shares, vmin=0, vmax=100, cmap='Blues')
    axes.set(xticks=range(len(names)), yticks=range(len(names)), xlabel='predicted', ylabel='true', title=title)
    axes.set_xticklabels(names, rotation=90)
    axes.set_yticklabels(names)
    if len(names) <= 25:
        for row, column in zip(*np.nonzero(counts), strict=True):
            axes.text(column, row, f'{shares[row, column]:.0f}', ha='center', va='center', fontsize=8,
                      color='white' if shares[row, column] > 55 else 'black')
    figure.colorbar(image, label='per cent of the true class', shrink=0.7)
    with atomic_file(path) as file:
        figure.savefig(file, format='png', dpi=110)
    plt.close(figure)


def confused_most(counts: np.ndarray, names: list[str], number: int = 5) -> list[str]:
    """The commonest confusions of two classes, as sentences."""
    classes = [index for index, name in enumerate(names) if name != BACKGROUND]
    wrong = sorted(((counts[row, column], row, column) for row in classes for column in classes if row != column),
                   reverse=True)
    return [f'{count:,} {names[row]} taken for {names[column]}' for count, row, column in wrong[:number] if count]


def main(argv=None) -> None:
    args = parse_args(argv)
    cfg = read_config(args.config, args.cfg_options, 'test')
    scope = cfg.get('default_scope')
    if scope not in ('mmdet', 'mmseg'):
        raise ConfigError(f'{args.config} is written for {scope}: confusion matrices are for detection (mmdet) and '
                          'segmentation (mmseg)')
    [dataset] = build_datasets(cfg, 'test')
    names = list(dataset.metainfo['classes'])
    if scope == 'mmdet':
        names.append(BACKGROUND)
        counts = confuse_detections(dataset, args)
        title = f'objects, IoU {args.iou_thr:g}, score {args.score_thr:g}'
    else:
        counts, title = confuse_pixels(dataset, cfg, args), 'pixels'
    out = args.out or Path('work_dirs') / Path(args.config).stem / 'confusion_matrix.png'
    write_csv(out.with_suffix('.csv'), counts, names)
    draw(out, counts, names, title)
    right = np.trace(counts[:len(dataset.metainfo['classes']), :len(dataset.metainfo['classes'])])
    print(f'{right:,} of {counts.sum():,} on the diagonal. ' + '; '.join(confused_most(counts, names)))
    print(f'Written to {out} and {out.with_suffix(".csv").name}')


if __name__ == '__main__':
    run_tool(main)
