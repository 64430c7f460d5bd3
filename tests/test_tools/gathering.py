"""Evaluates given predictions in one, two and three gloo processes: `python gathering.py OUT`.

The models hand on what the data sets hold; loops, samplers, metrics, launch and wrapper are those of real runs. One
process imports everything and forks the others, which saves seconds.
"""

import json
import os
import socket
import sys
from pathlib import Path

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dist import get_world_size, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from mmseg.structures import SegDataSample
from torch import nn
from torch.multiprocessing import start_processes

import projects.det_data  # noqa: F401 (registers)
import projects.restoration  # noqa: F401
from projects.runtime.launch import start_distributed, stop_distributed

WORLDS = (1, 2, 3)
TASKS = ('detection', 'segmentation', 'restoration')


def detection(index, rng):
    boxes = torch.from_numpy(rng.uniform(0, 30, (4, 4)).astype(np.float32))
    boxes[:, 2:] += boxes[:, :2] + 5
    truth = [dict(bbox=(box + rng.normal(0, 2)).tolist(), bbox_label=int(label), ignore_flag=0)
             for box, label in zip(boxes.numpy(), rng.integers(0, 2, 4), strict=True)]
    sample = DetDataSample(metainfo=dict(img_id=index, ori_shape=(64, 64), instances=truth))
    sample.pred_instances = InstanceData(bboxes=boxes, scores=torch.from_numpy(rng.random(4)),
                                         labels=torch.from_numpy(rng.integers(0, 2, 4)))
    return sample


def segmentation(index, rng):
    sample = SegDataSample(metainfo=dict(img_id=index))
    for name in ('gt_sem_seg', 'pred_sem_seg'):
        sample.set_data({name: PixelData(data=torch.from_numpy(rng.integers(0, 2, (1, 8, 8))))})
    return sample


def restoration(index, rng):
    gt, pred = torch.from_numpy(rng.uniform(0, 255, (2, 3, 16, 16)))
    return BaseDataElement(metainfo=dict(img_id=index), gt_img=gt, pred_img=pred)


@DATASETS.register_module()
class GivenPredictions(torch.utils.data.Dataset):
    """`size` samples of a task, each drawn from its number alone."""

    metainfo = dict(classes=('a', 'b'), dataset_type='given')

    def __init__(self, task, size):
        self.task, self.size = globals()[task], size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return dict(inputs=torch.zeros(1), data_samples=self.task(index, np.random.default_rng(index)))


@MODELS.register_module()
class Echo(BaseModel):
    """Returns the samples it is given."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 1)  # the wrapper asks for a parameter

    def forward(self, inputs, data_samples, mode='tensor'):
        return data_samples


@METRICS.register_module()
class EvaluatedIds(BaseMetric):
    """Appends the images that reach the metric to the JSON file, a list for each data set."""

    default_prefix = ''

    def __init__(self, path):
        super().__init__()
        self.path = Path(path)

    def process(self, data_batch, data_samples):
        self.results.extend(sample['img_id'] if isinstance(sample, dict) else sample.img_id for sample in data_samples)

    def compute_metrics(self, results):
        lists = json.loads(self.path.read_text()) if self.path.is_file() else []
        self.path.write_text(json.dumps([*lists, results]))
        return {}


def loader(task, size, batch_size):
    return dict(batch_size=batch_size, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dict(type='GivenPredictions', task=task, size=size))


def config(task, folder):
    ids = dict(type='EvaluatedIds', path=str(folder / 'ids.json'))
    cfg = dict(model=dict(type='Echo'), work_dir=str(folder / 'run'), default_scope='mmengine', log_level='ERROR')
    if task == 'restoration':  # two sets in one run, the second smaller than the number of processes
        return Config(dict(
            cfg, test_cfg=dict(type='MultiTestLoop'), test_dataloader=[loader(task, 5, 2), loader(task, 2, 1)],
            test_evaluator=[[dict(type='PSNR', prefix=name), ids] for name in ('five', 'two')]))
    metric = dict(detection=dict(type='mmdet.FastCocoMetric'), segmentation=dict(type='mmseg.IoUMetric'))[task]
    return Config(dict(cfg, test_cfg=dict(), test_dataloader=loader(task, 5, 2), test_evaluator=[metric, ids]))


def free_port():
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return str(server.getsockname()[1])


def evaluate(rank, world, out, ports):
    """One process of `world`."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank), MASTER_ADDR='127.0.0.1')
    for task in TASKS:
        folder = out / str(world) / task
        folder.mkdir(parents=True, exist_ok=True)
        cfg = config(task, folder)
        cfg.experiment_name = task
        if world > 1:
            os.environ['MASTER_PORT'] = ports[task]
            start_distributed(cfg, 'pytorch')
        metrics = Runner.from_cfg(cfg).test()
        if is_main_process():
            (folder / 'metrics.json').write_text(json.dumps(dict(metrics, world=get_world_size()), default=float))
        stop_distributed()


def main():
    out = Path(sys.argv[1])
    for world in WORLDS:
        ports = {task: free_port() for task in TASKS}
        start_processes(evaluate, (world, out, ports), nprocs=world, start_method='fork')


if __name__ == '__main__':
    main()
