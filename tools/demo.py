"""Detect objects in an image or a folder of images: `python tools/demo.py INPUT CONFIG CHECKPOINT`.

For every image there is a picture with its boxes in OUT/vis/ and a JSON file in OUT/preds/, with
the class names, `labels`, `scores` and `bboxes` ([x1, y1, x2, y2] in pixels of the image). An image
that cannot be read is reported and counted, and the others are done.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import mmcv
import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import Compose
from mmengine.device import get_device

sys.path.append(str(Path(__file__).resolve().parents[1]))

from projects.runtime.atomic import write_atomic
from projects.runtime.build_errors import config_errors
from projects.runtime.checkpoint_files import check_checkpoint, read_checkpoint
from projects.runtime.checkpoint_hooks import match_weights
from projects.runtime.command_line import CFG_OPTIONS_HELP, parse, run_tool
from projects.runtime.config_files import check_scope, load_config
from projects.runtime.data_options import apply_data_options
from projects.runtime.dataset_configs import split_datasets
from projects.runtime.errors import ConfigError, DataError

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Detect objects in an image or a folder of them.')
    parser.add_argument('input', type=Path, help='image, or folder (its sub-folders included)')
    parser.add_argument('config', help='config file of a detector')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out-dir', type=Path, default=Path('outputs'),
                        help='folder for vis/ and preds/ (default: outputs)')
    parser.add_argument('--device', default='auto',
                        help='auto, cpu, cuda, cuda:1... (default: auto)')
    parser.add_argument('--score-thr', type=float, default=0.3,
                        help='lowest score of boxes that are drawn; JSON holds all (default: 0.3)')
    parser.add_argument('--batch-size', type=int, default=1)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help=CFG_OPTIONS_HELP)
    parser.set_defaults(local_rank=0)
    return parse(parser)


def find_images(path: Path) -> list[Path]:
    """The image, or the images in the folder, sorted by name."""
    if path.is_file():
        return [path]
    images = sorted(file for file in path.rglob('*') if file.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        state = 'there is no image in it' if path.is_dir() else 'no such file or folder'
        raise DataError(f'{path}: {state}. Expected an image, or a folder of '
                        f'{", ".join(IMAGE_SUFFIXES)} files.')
    return images


class Detector:
    """A trained detector with its test pipeline and its painter.

    Args:
        cfg: config of the detector.
        checkpoint: file that must fit it.
        device: 'cpu', 'cuda', 'cuda:1'...
    """

    def __init__(self, cfg: Config, checkpoint: str, device: str) -> None:
        from mmdet.apis import init_detector
        from mmdet.registry import VISUALIZERS

        self.model = init_detector(cfg, checkpoint, device=device)
        match_weights(self.model, read_checkpoint(checkpoint), strict=True)
        [dataset, *_] = split_datasets(cfg, ('test',))
        self.pipeline = Compose(dataset.cfg['pipeline'])
        self.painter = VISUALIZERS.build(cfg.visualizer)
        self.painter.dataset_meta = self.model.dataset_meta

    def load(self, image: Path) -> dict:
        """The network's input for an image file.

        Raises:
            DataError: it cannot be read.
        """
        from projects.det_data.image_files import check_image_file

        check_image_file(str(image))
        try:
            return self.pipeline(dict(img_path=str(image), img_id=0))
        except AssertionError as error:  # mmcv's word for a file that is no image
            raise DataError(f'{image}: cannot be decoded as an image.') from error

    @torch.no_grad()
    def detect(self, inputs: list[dict]) -> list:
        """Detections for loaded images, one `DetDataSample` for each."""
        batch = {key: [item[key] for item in inputs] for key in ('inputs', 'data_samples')}
        return self.model.test_step(batch)

    def paint(self, image: Path, detections, score: float, out: Path) -> None:
        """Write a picture of the image with the boxes of at least `score`."""
        out.parent.mkdir(parents=True, exist_ok=True)
        pixels = mmcv.imread(str(image), channel_order='rgb')
        self.painter.add_datasample(image.name, pixels, detections, draw_gt=False,
                                    pred_score_thr=score, out_file=str(out))


def as_json(detections, classes: tuple[str, ...]) -> str:
    """Detections of an image as JSON: labels, scores, boxes, and the class names for the labels."""
    found = detections.pred_instances.cpu()
    return json.dumps(dict(
        labels=found.labels.tolist(), scores=[round(score, 5) for score in found.scores.tolist()],
        bboxes=[[round(value, 2) for value in box] for box in found.bboxes.tolist()],
        bbox_format='xyxy', classes=list(classes)))


def result_names(images: list[Path], root: Path) -> dict[Path, Path]:
    """Relative names of the results, without suffix where that leaves them distinct."""
    relative = {image: image.relative_to(root) for image in images}
    stems = Counter(path.with_suffix('') for path in relative.values())
    return {image: path.with_suffix('') if stems[path.with_suffix('')] == 1 else path
            for image, path in relative.items()}


def load_batch(detector: Detector, images: list[Path]) -> tuple[list[Path], list[dict]]:
    """The images that can be read, with their inputs; the others are reported."""
    readable, inputs = [], []
    for image in images:
        try:
            inputs.append(detector.load(image))
        except DataError as error:
            print(f'skipped: {error}', file=sys.stderr, flush=True)
        else:
            readable.append(image)
    return readable, inputs


def run(detector: Detector, images: list[Path], names: dict[Path, Path],
        args: argparse.Namespace) -> tuple[int, int]:
    """Detect in all images and write the results; return the images done and the boxes found."""
    done = boxes = 0
    classes = detector.model.dataset_meta['classes']
    for start in range(0, len(images), args.batch_size):
        readable, inputs = load_batch(detector, images[start:start + args.batch_size])
        for image, result in zip(readable, detector.detect(inputs) if inputs else (),
                                 strict=True):
            name = names[image]
            write_atomic(args.out_dir / 'preds' / f'{name}.json', as_json(result, classes))
            detector.paint(image, result, args.score_thr, args.out_dir / 'vis' / f'{name}.jpg')
            done += 1
            boxes += int((result.pred_instances.scores >= args.score_thr).sum())
        print(f'\r{min(start + args.batch_size, len(images))}/{len(images)} images', end='',
              file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return done, boxes


def main() -> None:
    args = parse_args()
    images = find_images(args.input)
    names = result_names(images, args.input.parent if args.input.is_file() else args.input)
    check_checkpoint(args.checkpoint)
    cfg = load_config(args.config, args.cfg_options)
    check_scope(cfg)
    if cfg.get('default_scope') != 'mmdet':
        raise ConfigError(f'{args.config}: the demo shows detectors (default_scope mmdet) only, '
                          f'and this one is for {cfg.get("default_scope")}.')
    apply_data_options(cfg, args.cfg_options)
    with config_errors(cfg):
        detector = Detector(cfg, args.checkpoint,
                            get_device() if args.device == 'auto' else args.device)
    done, boxes = run(detector, images, names, args)
    if not done:
        raise DataError(f'{args.input}: none of its {len(images)} images can be read.')
    skipped = f', {len(images) - done} could not be read' if done < len(images) else ''
    print(f'{done} images{skipped}, {boxes} boxes with a score of at least {args.score_thr}. '
          f'Pictures: {args.out_dir}/vis/  Detections: {args.out_dir}/preds/')


if __name__ == '__main__':
    run_tool(main)
