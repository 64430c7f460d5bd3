"""One of two gloo processes that train a step and evaluate three images. Argument: store."""

import sys

import torch
from mmengine.config import ConfigDict
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import METRICS, MODELS
from mmseg.structures import SegDataSample
from torch import distributed

import projects.token_fusion.segmentation  # noqa: F401

MODEL = ConfigDict(
    type='TokenFusionSegmentor', data_preprocessor=dict(type='SegDataPreProcessor', size=(32, 32)),
    backbone=dict(type='TokenFusionMiT', drop_path_rate=0.,
                  arch=dict(embed_dims=(8, 8, 8, 8), num_heads=(1, 1, 1, 1), depths=(1, 1, 1, 1))),
    # statistics of a batch are those of a process; frozen, they do not tell the two cases apart
    decode_head=dict(type='TokenFusionHead', channels=8, num_classes=3, dropout_ratio=0., freeze_bn=True),
    token_loss=dict(weight=0.01, reduction='sum'), test_cfg=dict(mode='whole'))


def model_and_wrapper():
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(MODEL).train()
    return model, OptimWrapper(torch.optim.SGD(model.parameters(), 0.1))


def batch(seeds):
    """Images that depend on their seeds alone."""
    data = dict(inputs=[], data_samples=[])
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        data['inputs'].append(torch.rand(4, 32, 32, generator=generator))
        labels = torch.randint(0, 3, (1, 32, 32), generator=generator)
        data['data_samples'].append(SegDataSample(
            gt_sem_seg=PixelData(data=labels), metainfo=dict(ori_shape=(32, 32), img_shape=(32, 32))))
    return data


def evaluate(model, seeds):
    """Figures over three images, of a process that has seen these."""
    metric = METRICS.build(dict(type='IoUMetric'))
    metric.dataset_meta = dict(classes=('a', 'b', 'c'))
    with torch.no_grad():
        for sample in model.eval().test_step(batch(seeds)):
            metric.process({}, [sample.to_dict()])
    return metric.evaluate(3)


def work(rank):
    """The model behind a step, and figures (of the first process)."""
    model, wrapper = model_and_wrapper()
    MMDistributedDataParallel(model, broadcast_buffers=False).train_step(batch([2 * rank, 2 * rank + 1]), wrapper)
    return model, evaluate(model, [[0, 2], [1, 0]][rank])  # the sampler fills up with an image seen before


if __name__ == '__main__':
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{sys.argv[1]}', rank=1, world_size=2)
    work(1)
    distributed.destroy_process_group()
