"""Reading samples as training does, by the loading steps of the pipeline, in several processes."""

import copy
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

import cv2
import numpy as np
from mmengine.registry import TRANSFORMS, init_default_scope

from projects.runtime.command_line import user_message
from projects.runtime.errors import DataError, UserError

from .findings import Findings, Problem, Reading, Sample
from .image_state import image_state

IGNORED = 255
_STEPS = ('Load', 'Fit')  # reading, and bringing modalities of one sample to one size
_NEEDED = (('Depth', ('depth_path', 'img_path')), ('Fit', ('seg_map_path', 'img_path', 'depth_path')),
           ('Scene', ('lidar_path', 'pts_semantic_mask_path', 'pts_instance_mask_path')), ('Points', ('lidar_path',)),
           ('Annotations3D', ('pts_semantic_mask_path', 'pts_instance_mask_path')),
           ('Annotations', ('seg_map_path',)), ('Image', ('img_path',)))
_TASK = None


class Reader:
    """Reads single samples of a data set.

    Args:
        scope: `default_scope` of the config.
        kind: of :class:`Findings`.
        classes: names in the order of the labels.
        pipeline: of the data set; its loading steps are taken.
    """

    def __init__(self, scope: str, kind: str, classes: tuple[str, ...], pipeline: list[dict]) -> None:
        init_default_scope(scope)
        cv2.setNumThreads(0)
        self.kind, self.classes = kind, classes
        steps = [step for step in pipeline if str(step['type']).split('.')[-1].startswith(_STEPS)]
        if kind == 'detection':  # boxes were checked in the annotation file, which stays whatever is broken
            steps = [step for step in steps if 'Annotations' not in step['type']]
        self.steps = [(str(step['type']), TRANSFORMS.build(dict(step))) for step in steps]

    def __call__(self, sample: Sample) -> Reading:
        """Read a sample; nothing it holds can raise."""
        reading = Reading()
        broken = self._check_files(sample, reading)
        results = copy.deepcopy(sample.info)
        for name, step in self.steps:
            files = self._files_of(name, step, sample.info)
            if broken.intersection(files):
                continue
            try:
                loaded = step(results)
                if loaded is None:  # a loader that passes over what it cannot read
                    raise DataError(f'{files[0] if files else sample.name}: passed over by {name}')
                results = loaded
            except Exception as error:  # decoders and loaders fail in every way; the next sample is wanted
                path = files[0] if files else sample.name
                broken.update(files[:0 if name.startswith('Fit') else 1])
                reading.problems.append(Problem('unreadable', path, self._words(name, error)))
        try:
            self._check_content(sample, results, reading)
        except Exception as error:  # values of an unforeseen type
            reading.problems.append(Problem('unreadable', sample.name, f'{type(error).__name__}: {error}'))
        return reading

    @staticmethod
    def _check_files(sample: Sample, reading: Reading) -> set[str]:
        """Files that are missing, empty or cut off, each named once."""
        broken = set()
        for key, path in sample.info.items():
            if not key.endswith('_path') or not isinstance(path, str) or path in broken:
                continue
            state = image_state(path)
            if state:
                broken.add(path)
                reading.problems.append(Problem(state[0], path, f'{state[1]} ({key})'))
        return broken

    @staticmethod
    def _files_of(name: str, step: Any, info: dict) -> list[str]:
        """The files that a loading step needs, its own first; by its `key`, else by its name."""
        key = getattr(step, 'key', None)
        keys = (f'{key}_path',) if key else next((keys for word, keys in _NEEDED if word in name), ())
        return [info[key] for key in keys if isinstance(info.get(key), str)]

    @staticmethod
    def _words(name: str, error: Exception) -> str:
        return user_message(error) if isinstance(error, UserError) else f'{name}: {type(error).__name__}: {error}'

    def _check_content(self, sample: Sample, results: dict, reading: Reading) -> None:
        image = results.get('img')
        if isinstance(image, np.ndarray):
            height, width = image.shape[:2]
            reading.size = (width, height)
            if sample.size and sample.size != (width, height):
                reading.problems.append(Problem('other size than annotated', sample.name,
                                                f'{width} x {height} pixels, annotated are {sample.size[0]} x '
                                                f'{sample.size[1]}'))
        if self.kind == 'detection':
            reading.classes = Counter(box[0] for box in sample.boxes)
        if self.kind == 'segmentation':
            self._check_labels(sample, results, reading)
        if self.kind == 'restoration':
            self._check_pair(sample, results, reading)
        if self.kind == 'points':
            self._check_points(sample, results, reading)

    def _count(self, labels: np.ndarray, ignored: tuple[int, ...], path: str, reading: Reading) -> None:
        """Count labels by class; values outside the classes are a problem."""
        values, counts = np.unique(labels, return_counts=True)
        strange = []
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            if 0 <= value < len(self.classes):
                reading.classes[self.classes[value]] += count
            elif value not in ignored:
                strange.append(f'{value} ({count} times)')
        if strange:
            reading.problems.append(Problem(
                'label outside the classes', path, f'{", ".join(strange[:8])}; expected 0 to {len(self.classes) - 1}, '
                f'or {ignored[0]} for what is ignored'))

    def _check_labels(self, sample: Sample, results: dict, reading: Reading) -> None:
        labels, depth = results.get('gt_seg_map'), results.get('depth')
        if labels is not None:
            path = sample.info['seg_map_path']
            if labels.ndim != 2:
                reading.problems.append(Problem('mask of several channels', path, f'shape {labels.shape}, expected one '
                                                'class index a pixel'))
                return
            self._count(labels, (IGNORED,), path, reading)
            known = any(problem.file == path and problem.kind == 'unreadable' for problem in reading.problems)
            if reading.size and labels.shape[::-1] != reading.size and not known:
                reading.problems.append(Problem(
                    'mask of another size', path, f'{labels.shape[1]} x {labels.shape[0]} pixels, its image '
                    f'{sample.info["img_path"]} has {reading.size[0]} x {reading.size[1]}'))
        if depth is not None:
            missing = float((~np.isfinite(depth) | (depth <= 0)).mean())
            reading.notes['missing_depth'] = missing
            if missing == 1:
                reading.problems.append(Problem('depth map without values', sample.info['depth_path'], 'all are 0'))

    @staticmethod
    def _check_pair(sample: Sample, results: dict, reading: Reading) -> None:
        image, truth = results.get('img'), results.get('gt')
        if truth is None:
            return
        reading.size = truth.shape[1::-1]
        scale = sample.info.get('scale', 1)
        if image is not None and tuple(side // scale for side in truth.shape[:2]) != image.shape[:2]:
            reading.problems.append(Problem(
                'pair of other sizes', sample.info['img_path'], f'{image.shape[1]} x {image.shape[0]} pixels, expected '
                f'{truth.shape[1] // scale} x {truth.shape[0] // scale}: {sample.info["gt_path"]} has {truth.shape[1]} '
                f'x {truth.shape[0]} and the scale is {scale}'))

    def _check_points(self, sample: Sample, results: dict, reading: Reading) -> None:
        points = results.get('points')
        if points is not None:
            values = points.tensor.numpy()
            reading.size = (len(values),)
            bad = int((~np.isfinite(values).all(1)).sum())
            if bad or not len(values):
                reading.problems.append(Problem('points not finite' if bad else 'no points', sample.name,
                                                f'{bad} of {len(values)}'))
        labels = results.get('pts_semantic_mask')
        if labels is not None:
            ignored = results.get('ignore_index', len(self.classes))
            self._count(np.asarray(labels), (ignored,), sample.info.get('pts_semantic_mask_path', sample.name), reading)
        annotated = results.get('ann_info') or results.get('eval_ann_info') or {}
        if 'gt_bboxes_3d' in annotated:
            self._check_boxes_3d(sample, annotated, reading)

    def _check_boxes_3d(self, sample: Sample, annotated: dict, reading: Reading) -> None:
        boxes = annotated['gt_bboxes_3d'].tensor.numpy()
        for index, (box, label) in enumerate(zip(boxes, annotated['gt_labels_3d'], strict=True)):
            shown = f'box {index}: {np.round(box, 3).tolist()}'
            if not np.isfinite(box).all():
                reading.problems.append(Problem('box is not finite', sample.name, shown))
            elif (box[3:6] <= 0).any():
                reading.problems.append(Problem('box without volume', sample.name, shown))
            elif not 0 <= label < len(self.classes):
                reading.problems.append(Problem('unknown class', sample.name, f'{shown}: label {label}'))
            else:
                reading.classes[self.classes[int(label)]] += 1


def _start(arguments: tuple) -> None:
    global _TASK
    _TASK = Reader(*arguments)


def _read(sample: Sample) -> Reading:
    return _TASK(sample)


def check_samples(findings: Findings, scope: str, pipeline: list[dict[str, Any]], workers: int) -> Iterator[int]:
    """Read all samples into `findings.readings`, yielding the number done.

    Args:
        findings: with its samples listed.
        scope, pipeline: of the config and the data set.
        workers: processes; 0 reads in this one.
    """
    arguments = scope, findings.kind, findings.class_names, pipeline
    if not workers:
        reader = Reader(*arguments)
        for sample in findings.samples:
            findings.readings.append(reader(sample))
            yield len(findings.readings)
        return
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    with ProcessPoolExecutor(workers, get_context('fork'), _start, (arguments,)) as pool:
        try:
            for reading in pool.map(_read, findings.samples, chunksize=8):
                findings.readings.append(reading)
                yield len(findings.readings)
        except BrokenProcessPool:
            done = len(findings.readings)
            raise DataError(f'{findings.key}: a reading process died at or shortly behind sample {done}, '
                            f'{findings.samples[done].name}: out of memory, or a decoder crashed. --workers 0 reads in '
                            'one process and dies at the very file.') from None
