"""Small segmentors, with weights and statistics that make their outputs sensitive to every channel; batches."""

import copy
import importlib.util
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

import projects.seg_data
import projects.seg_pruning  # noqa: F401  (registers)

BN = dict(type='BN', requires_grad=True)
SIZE = (40, 48)


def segmentor_config(head='ASPPHead', depth=18, width=8, auxiliary=True, norm=BN, num_classes=5, **head_options):
    """A narrow ResNet-D8 with an mmseg head."""
    expansion = 4 if depth >= 50 else 1
    common = dict(num_classes=num_classes, norm_cfg=norm, align_corners=False, dropout_ratio=0.1,
                  loss_decode=dict(type='CrossEntropyLoss'))
    model = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[120., 110., 100.], std=[60., 60., 60.],
                               bgr_to_rgb=True, size=SIZE, pad_val=0, seg_pad_val=255),
        backbone=dict(type='ResNetV1c', depth=depth, base_channels=width, stem_channels=width, out_indices=(0, 1, 2, 3),
                      dilations=(1, 1, 1, 2), strides=(1, 2, 1, 1), norm_cfg=norm, contract_dilation=True),
        decode_head=dict(type=head, in_channels=width * 8 * expansion, in_index=3, channels=16, **head_options,
                         **common),
        train_cfg=dict(), test_cfg=ConfigDict(mode='whole'))
    if head == 'ASPPHead':
        model['decode_head'].setdefault('dilations', (1, 2, 3))
    if auxiliary:
        model['auxiliary_head'] = dict(type='FCNHead', in_channels=width * 4 * expansion, in_index=2, channels=8,
                                       num_convs=1, concat_input=False, **common)
    return model


def mobile_config():
    """A narrow MobileNetV2, whose depth-wise layers tie channels, under a head of separable convolutions."""
    model = segmentor_config(auxiliary=False)
    model['backbone'] = dict(type='MobileNetV2', widen_factor=0.25, strides=(1, 2, 2, 1, 1, 1, 1),
                             dilations=(1, 1, 1, 2, 2, 4, 4), out_indices=(1, 2, 4, 6), norm_cfg=BN)
    model['decode_head'] = dict(type='DepthwiseSeparableASPPHead', in_channels=80, in_index=3, channels=16,
                                dilations=(1, 2, 3), c1_in_channels=8, c1_channels=8, num_classes=5, norm_cfg=BN,
                                align_corners=False, loss_decode=dict(type='CrossEntropyLoss'))
    return model


@torch.no_grad()
def lively(model, seed=0):
    """Random batch norms, so that no channel is 0 and none the same as another; evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor, low, high in ((module.weight, 0.5, 1.5), (module.bias, -0.2, 0.5),
                                      (module.running_mean, -0.2, 0.2), (module.running_var, 0.5, 1.5)):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
        elif isinstance(module, nn.Conv2d):
            module.weight.copy_(torch.randn(module.weight.shape, generator=generator)
                                * (2 / module.weight[0].numel()) ** 0.5)
    return model.eval()


@pytest.fixture(autouse=True, scope='module')
def scope():
    """mmseg's registries, as under a config, whatever ran before in this process."""
    init_default_scope('mmseg')


@pytest.fixture(scope='session')
def drawn():
    """The module `drawn_sets`, which writes data sets."""
    spec = importlib.util.spec_from_file_location('drawn_sets', Path(__file__).with_name('drawn_sets.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def build():
    """Function: a segmentor of a config, with lively weights."""
    def make(config, seed=0):
        torch.manual_seed(seed)
        return lively(MODELS.build(copy.deepcopy(config)), seed)
    return make


@pytest.fixture
def config():
    """Function: see `segmentor_config`."""
    return segmentor_config


@pytest.fixture
def mobile():
    """See `mobile_config`."""
    return mobile_config()


@pytest.fixture
def random_masks():
    """Function: random kept channels, at least one, for every group of a graph."""
    def make(graph, seed=0, share=0.5):
        generator = torch.Generator().manual_seed(seed)
        masks = {}
        for name, group in graph.groups.items():
            masks[name] = torch.rand(group.channels, generator=generator) < share
            masks[name][int(torch.randint(group.channels, (), generator=generator))] = True
        return masks
    return make


@pytest.fixture
def batch():
    """Function: unprocessed batches of both tasks."""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    def make(seed=0, num_classes=5, count=2):
        generator = torch.Generator().manual_seed(seed)
        samples = []
        for _ in range(count):
            sample = SegDataSample(metainfo=dict(img_shape=SIZE, ori_shape=SIZE))
            labels = torch.randint(num_classes, (1, *SIZE), generator=generator)
            sample.gt_sem_seg = PixelData(data=labels)
            samples.append(sample)
        images = [torch.randint(256, (3, *SIZE), generator=generator, dtype=torch.uint8) for _ in range(count)]
        crops = torch.randint(256, (4, 3, 32, 32), generator=generator, dtype=torch.uint8)
        return dict(seg=dict(inputs=images, data_samples=samples),
                    cls=dict(inputs=crops, labels=torch.arange(4) % 3))
    return make
