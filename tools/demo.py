"""Run a model on an image or a folder of images: `python tools/demo.py INPUT CONFIG CHECKPOINT`.

A detector writes for every image a picture with its boxes to OUT/vis/ and a JSON file to OUT/preds/,
with the class names, `labels`, `scores` and `bboxes` ([x1, y1, x2, y2] in pixels of the image). A
segmentor writes the labels, one class index a pixel, to OUT/preds/ as PNG, and a picture with them to
OUT/vis/. A model of super-resolution, denoising or deraining writes the restored image to OUT/preds/, and to
OUT/vis/ a picture with input, bicubic interpolation and result side by side. An image that cannot
be read is reported and counted, and the others are done.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import Compose
from mmengine.device import get_device
from mmengine.registry import MODELS, init_default_scope

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
from projects.runtime.prediction_dump import label_png

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Run a detector, a segmentor or a restoration model on an image or a folder of them.')
    parser.add_argument('input', type=Path, help='image, or folder (its sub-folders included)')
    parser.add_argument('config', help='config file of the model')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out-dir', type=Path, default=Path('outputs'),
                        help='folder for vis/ and preds/ (default: outputs)')
    parser.add_argument('--device', default='auto',
                        help='auto, cpu, cuda, cuda:1... (default: auto)')
    parser.add_argument('--score-thr', type=float, default=0.3,
                        help='of detectors: lowest score of boxes that are drawn; JSON holds all (default: 0.3)')
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
        args: of the command line.
    """

    def __init__(self, cfg: Config, checkpoint: str, args: argparse.Namespace) -> None:
        from mmdet.apis import init_detector
        from mmdet.registry import VISUALIZERS

        self.args, self.boxes = args, 0
        self.model = init_detector(cfg, checkpoint, device=args.device)
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

    def write(self, image: Path, name: Path, detections) -> None:
        """Write the picture with the boxes of at least the wanted score, and all detections."""
        args = self.args
        found = detections.pred_instances.cpu()
        self.boxes += int((found.scores >= args.score_thr).sum())
        write_atomic(args.out_dir / 'preds' / f'{name}.json', json.dumps(dict(
            labels=found.labels.tolist(), scores=[round(score, 5) for score in found.scores.tolist()],
            bboxes=[[round(value, 2) for value in box] for box in found.bboxes.tolist()],
            bbox_format='xyxy', classes=list(self.model.dataset_meta['classes']))))
        out = args.out_dir / 'vis' / f'{name}.jpg'
        out.parent.mkdir(parents=True, exist_ok=True)
        self.painter.add_datasample(image.name, mmcv.imread(str(image), channel_order='rgb'), detections,
                                    draw_gt=False, pred_score_thr=args.score_thr, out_file=str(out))

    def summary(self) -> str:
        return f'{self.boxes} boxes with a score of at least {self.args.score_thr}. '


class Segmentor:
    """A trained segmentor with its test pipeline and its painter.

    Args:
        cfg: config of the segmentor.
        checkpoint: file that must fit it.
        args: of the command line.
    """

    def __init__(self, cfg: Config, checkpoint: str, args: argparse.Namespace) -> None:
        from mmseg.registry import DATASETS, VISUALIZERS

        init_default_scope('mmseg')
        self.args = args
        self.model = MODELS.build(cfg.model)
        content = read_checkpoint(checkpoint)
        match_weights(self.model, content, strict=True)
        self.model.to(args.device).eval()
        [dataset, *_] = split_datasets(cfg, ('test',))
        self.pipeline = Compose([step for step in dataset.cfg['pipeline'] if step['type'] != 'LoadAnnotations'])
        self.painter = VISUALIZERS.build(cfg.visualizer)
        meta = (content.get('meta') or {}).get('dataset_meta') or DATASETS.get(dataset.cfg['type']).METAINFO
        self.painter.dataset_meta = {key.lower(): value for key, value in meta.items()}
        self.counts = Counter()

    def load(self, image: Path) -> dict:
        """The network's input for an image file.

        Raises:
            DataError: it cannot be read.
        """
        try:
            return self.pipeline(dict(img_path=str(image)))
        except (AssertionError, AttributeError) as error:  # mmcv's words for a file that is no image
            raise DataError(f'{image}: cannot be decoded as an image.') from error

    def write(self, image: Path, name: Path, sample) -> None:
        """Write the labels, and the picture with them."""
        labels = sample.pred_sem_seg.data[0].cpu().numpy()
        self.counts.update(dict(zip(*np.unique(labels, return_counts=True), strict=True)))
        write_atomic(self.args.out_dir / 'preds' / f'{name}.png', label_png(labels))
        out = self.args.out_dir / 'vis' / f'{name}.jpg'
        out.parent.mkdir(parents=True, exist_ok=True)
        self.painter.add_datasample(image.name, mmcv.imread(str(image), channel_order='rgb'), data_sample=sample.cpu(),
                                    draw_gt=False, out_file=str(out), with_labels=True)

    def summary(self) -> str:
        classes, total = self.painter.dataset_meta['classes'], sum(self.counts.values())
        shares = (f'{classes[label]} {count / total:.0%}' for label, count in self.counts.most_common(3))
        return f'Most pixels: {", ".join(shares)}. '


class Restorer:
    """A trained model of super-resolution, denoising or deraining.

    Of the config's test pipeline those steps are left out that read or make a truth: the images are inputs.

    Args:
        cfg: config of the model.
        checkpoint: file that must fit it.
        args: of the command line.
    """

    STEPS = ('SetValues', 'PackInputs')

    def __init__(self, cfg: Config, checkpoint: str, args: argparse.Namespace) -> None:
        import projects.restoration  # noqa: F401

        init_default_scope('mmengine')
        self.args = args
        self.model = MODELS.build(cfg.model)
        match_weights(self.model, read_checkpoint(checkpoint), strict=True)
        self.model.to(args.device).eval()
        [dataset, *_] = split_datasets(cfg, ('test',))
        self.scale = dataset.cfg.get('scale', 1)
        self.pipeline = Compose([dict(type='LoadRestorationImage', key='img')] + [
            step for step in dataset.cfg['pipeline'] if step['type'] in self.STEPS])  # IPT's task is a value set there

    def load(self, image: Path) -> dict:
        """The network's input for an image file.

        Raises:
            DataError: it cannot be read.
        """
        return self.pipeline(dict(img_path=str(image), key=image.stem, scale=self.scale))

    def write(self, image: Path, name: Path, restored) -> None:
        """Write the restored image, and the picture that compares it."""
        from projects.restoration.pictures import comparison, to_uint8, versions
        from projects.runtime.image_bytes import encode_png

        source, result = to_uint8(restored.input), to_uint8(restored.pred_img)
        for folder, picture in (('preds', result), ('vis', comparison(versions(source, result)))):
            write_atomic(self.args.out_dir / folder / f'{name}.png', encode_png(picture))

    def summary(self) -> str:
        return ''


TASKS = dict(mmdet=Detector, mmseg=Segmentor, mmengine=Restorer)
"""Who shows models of a library, by the config's `default_scope`."""


def result_names(images: list[Path], root: Path) -> dict[Path, Path]:
    """Relative names of the results, without suffix where that leaves them distinct."""
    relative = {image: image.relative_to(root) for image in images}
    stems = Counter(path.with_suffix('') for path in relative.values())
    return {image: path.with_suffix('') if stems[path.with_suffix('')] == 1 else path
            for image, path in relative.items()}


def load_batch(task: Detector | Segmentor | Restorer, images: list[Path]) -> tuple[list[Path], list[dict]]:
    """The images that can be read, with their inputs; the others are reported."""
    readable, inputs = [], []
    for image in images:
        try:
            inputs.append(task.load(image))
        except DataError as error:
            print(f'skipped: {error}', file=sys.stderr, flush=True)
        else:
            readable.append(image)
    return readable, inputs


@torch.no_grad()
def run(task: Detector | Segmentor | Restorer, images: list[Path], names: dict[Path, Path], batch_size: int) -> int:
    """Run all images and write the results; return how many were done."""
    done = 0
    for start in range(0, len(images), batch_size):
        readable, inputs = load_batch(task, images[start:start + batch_size])
        batch = {key: [item[key] for item in inputs] for key in ('inputs', 'data_samples')}
        for image, result in zip(readable, task.model.test_step(batch) if inputs else (), strict=True):
            task.write(image, names[image], result)
            done += 1
        print(f'\r{min(start + batch_size, len(images))}/{len(images)} images', end='', file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return done


def main() -> None:
    args = parse_args()
    images = find_images(args.input)
    names = result_names(images, args.input.parent if args.input.is_file() else args.input)
    check_checkpoint(args.checkpoint)
    cfg = load_config(args.config, args.cfg_options)
    check_scope(cfg)
    scope = cfg.get('default_scope', 'mmengine')
    if scope not in TASKS:
        raise ConfigError(f'{args.config}: the demo shows models with default_scope {" or ".join(TASKS)}, and this one '
                          f'is for {scope}.')
    apply_data_options(cfg, args.cfg_options)
    if args.device == 'auto':
        args.device = get_device()
    with config_errors(cfg):
        task = TASKS[scope](cfg, args.checkpoint, args)
    done = run(task, images, names, args.batch_size)
    if not done:
        raise DataError(f'{args.input}: none of its {len(images)} images can be read.')
    skipped = f', {len(images) - done} could not be read' if done < len(images) else ''
    print(f'{done} images{skipped}. {task.summary()}Pictures: {args.out_dir}/vis/  Results: {args.out_dir}/preds/')


if __name__ == '__main__':
    run_tool(main)
