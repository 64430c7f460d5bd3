"""Keeping a test run's predictions (`tools/test.py --out`): in a file, or label maps of segmentation in a folder."""

import pickle
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric, DumpResults
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from .atomic import atomic_file, write_atomic
from .errors import ConfigError, DataError

_SUFFIXES = ('.pkl', '.pickle')


def check_out(out: str, scope: str) -> None:
    """Raise `ConfigError` if `out` is neither a pickle file's name nor, for segmentation, that of a folder."""
    path = Path(out)
    if scope == 'mmseg' and not path.is_file() and (path.suffix == '' or path.is_dir()):
        return
    if not out.endswith(_SUFFIXES):
        folder = ', or for label images a folder' if scope == 'mmseg' else ''
        raise ConfigError(f'--out {out}: expected a file name that ends in .pkl{folder}.')


def label_png(labels: np.ndarray) -> bytes:
    """The PNG of labels (H, W): 8 bits a pixel, 16 where a label is above 255."""
    return cv2.imencode('.png', labels.astype(np.uint8 if labels.max() < 256 else np.uint16))[1].tobytes()


def _label_file(image: str) -> str:
    return f'{Path(image).stem}.png'


def check_names(folder: str, images: Iterable[str]) -> None:
    """Raise `DataError` if two images would be written to one file, whichever process tests them."""
    sources: dict[str, str] = {}
    for image in images:
        name = _label_file(image)
        if sources.setdefault(name, image) != image:
            raise DataError(f'--out {folder}: {image} and {sources[name]} would both be written to {name}. Expected '
                            'images of distinct names; test the folders one by one')


class LabelImages(BaseMetric):
    """Writes the predicted labels of each image as `FOLDER/NAME.png`, one number a pixel, when it is tested.

    Every process writes those of its own images; nothing is gathered, so memory does not grow with the data set.

    Args:
        folder: where to; made if missing.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(collect_device='cpu')
        self.folder = Path(folder)

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        """Write the labels of a batch."""
        for sample in data_samples:
            path = self.folder / _label_file(sample['img_path'])
            write_atomic(path, label_png(np.asarray(sample['pred_sem_seg']['data'].cpu())[0]))
            self.results.append(None)

    def compute_metrics(self, results: list) -> dict:
        """Say where they are."""
        MMLogger.get_current_instance().info(f'{len(results)} label images are in {self.folder}/')
        return {}


class _AtomicDump(DumpResults):
    """A dump that writes its file in one step."""

    def compute_metrics(self, results: list) -> dict:
        """Write the predictions, in the order of the data set."""
        with atomic_file(self.out_file_path) as file:
            pickle.dump(results, file)
        MMLogger.get_current_instance().info(
            f'{len(results)} predictions are in {self.out_file_path}')
        return {}


def _dump_class(scope: str) -> type[DumpResults]:
    """The library's own form of predictions."""
    if scope == 'mmdet':
        from mmdet.evaluation import DumpDetResults
        return DumpDetResults
    return DumpResults


def dump_predictions(runner: Runner, out: str) -> None:
    """Write the predictions of `runner.test()` to `out`, before any metric is computed.

    Metrics are computed one after the other, so the predictions survive if one of them fails.
    Detection configs get mmdet's form: one dict an image, masks run-length encoded. Segmentation configs write label
    images if `out` is a folder.
    """
    if out.endswith(_SUFFIXES):
        base = _dump_class(runner.cfg.get('default_scope', 'mmengine'))
        metric = type('AtomicDump', (_AtomicDump, base), {})(out_file_path=out)
    else:
        dataset = runner.test_loop.dataloader.dataset
        check_names(out, (dataset.get_data_info(index)['img_path'] for index in range(len(dataset))))
        metric = LabelImages(out)
    runner.test_evaluator.metrics.insert(0, metric)
