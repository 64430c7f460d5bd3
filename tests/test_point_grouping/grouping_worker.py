"""One of two gloo processes that evaluate five scenes. Arguments: rank, store, result file."""

import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
from torch import distributed

SCENES = 5


def sample(seed):
    """A scene with noisy predictions, as the evaluator hands it over."""
    rng = np.random.default_rng(seed)
    count = 3000 + 10 * seed
    instance = np.repeat(np.arange(-1, 9), count // 10 + 1)[:count]
    semantic = np.where(instance >= 0, instance % 4, -100)
    masks = (instance == np.arange(9)[:, None]) ^ (rng.random((9, count)) < .06)
    return dict(
        lidar_path=f'scene{seed:04d}_00.bin',
        eval_ann_info=dict(pts_semantic_mask=semantic, pts_instance_mask=instance),
        pred_pts_seg=dict(pts_instance_mask=torch.from_numpy(masks), instance_labels=torch.arange(9) % 4,
                          instance_scores=torch.from_numpy(rng.random(9)),
                          pts_semantic_mask=torch.from_numpy(np.abs(semantic) % 4)))


def evaluate(seeds):
    """Figures of both metrics, by a process that has seen these scenes."""
    from projects.point_grouping.metrics import S3DISInstanceMetric, ScanNetInstanceMetric
    figures = {}
    for metric in (ScanNetInstanceMetric(void_classes=('wall',), classwise=True), S3DISInstanceMetric(classwise=True)):
        metric.dataset_meta = dict(classes=('wall', 'floor', 'chair', 'table'))
        for seed in seeds:
            metric.process({}, [sample(seed)])
        figures.update(metric.evaluate(SCENES))
    return figures


def main():
    # the metrics alone: what else the package imports takes a process many seconds
    package = types.ModuleType('projects.point_grouping')
    package.__path__ = [str(Path(__file__).resolve().parents[2] / 'projects' / 'point_grouping')]
    sys.modules['projects.point_grouping'] = package
    rank, store, out = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=2)
    out.write_text(json.dumps(evaluate([[0, 2, 4], [1, 3, 0]][rank])))  # the sampler fills up with a scene seen before
    distributed.destroy_process_group()


if __name__ == '__main__':
    main()
