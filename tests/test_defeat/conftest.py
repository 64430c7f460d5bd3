"""Tiny detectors, a batch, and a teacher's files."""

import copy
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData

import projects.defeat  # noqa: F401

CLASSES = ('square', 'disc')
SIZE = 128
MODEL_CONFIGS = Path(__file__).resolve().parents[2] / 'configs/_base_/models'


def backbone(width):
    return dict(type='ResNet', depth=18, base_channels=width, stem_channels=8, norm_eval=False, init_cfg=None,
                norm_cfg=dict(type='GN', num_groups=4), frozen_stages=-1, zero_init_residual=False)


def one_stage(width=8, channels=16):
    """RetinaNet with levels P3 to P5."""
    return Config.fromfile(MODEL_CONFIGS / 'retinanet_r50.py').model | dict(
        backbone=backbone(width),
        neck=dict(type='FPN', in_channels=[width, 2 * width, 4 * width, 8 * width], start_level=1,
                  out_channels=channels, num_outs=3),
        bbox_head=dict(
            type='RetinaHead', num_classes=2, in_channels=channels, feat_channels=8, stacked_convs=1,
            anchor_generator=dict(type='AnchorGenerator', octave_base_scale=4, scales_per_octave=3, ratios=[1.0],
                                  strides=[8, 16, 32])))


def two_stage(width=8, channels=16):
    """Faster R-CNN with levels P2 to P6, 32 proposals an image for its head."""
    model = Config.fromfile(MODEL_CONFIGS / 'faster_rcnn_r50.py').model
    model.backbone = ConfigDict(backbone(width))
    model.neck.update(in_channels=[width, 2 * width, 4 * width, 8 * width], out_channels=channels)
    model.rpn_head.update(in_channels=channels, feat_channels=8)
    model.roi_head.bbox_roi_extractor.out_channels = channels
    model.roi_head.bbox_head.update(in_channels=channels, fc_out_channels=16, num_classes=2)
    model.train_cfg.rcnn.sampler.num = 32
    model.train_cfg.rpn_proposal.update(nms_pre=60, max_per_img=60)
    model.test_cfg.rpn.update(nms_pre=60, max_per_img=60)
    return model


PLAIN = dict(one=one_stage, two=two_stage)
KINDS = dict(one='DeFeatSingleStageDetector', two='DeFeatTwoStageDetector')
LEVELS = dict(one=3, two=5)


@pytest.fixture(autouse=True, scope='session')
def mmdet_modules():
    register_all_modules(init_default_scope=True)


@pytest.fixture
def plain():
    """Function: config of a tiny plain detector, 'one' or 'two' stages."""
    def make(stages, **sizes):
        return ConfigDict(PLAIN[stages](**sizes))
    return make


@pytest.fixture
def distilled(plain):
    """Function: config of a tiny distilled detector; the teacher is wider, its checkpoint is None."""
    def make(stages, teacher=None, **defeat):
        model = plain(stages)
        neck = dict(in_channels=16, teacher_channels=24, num_levels=LEVELS[stages])
        model.update(
            type=KINDS[stages],
            teacher=dict(config=dict(model=plain(stages, width=12, channels=24)), checkpoint=None) | (teacher or {}),
            defeat=dict(neck=neck) | defeat)
        return model
    return make


@pytest.fixture
def build():
    """Function: a detector from its config, with weights from a fixed seed."""
    def make(config):
        torch.manual_seed(0)
        model = MODELS.build(copy.deepcopy(config))
        model.init_weights()
        return model
    return make


@pytest.fixture
def batch():
    """Two normalised images, with two objects and none."""
    torch.manual_seed(1)
    samples = []
    for boxes, labels in (([[8., 8., 60., 70.], [50., 60., 124., 120.]], [0, 1]), ([], [])):
        sample = DetDataSample(metainfo=dict(img_shape=(SIZE, SIZE), pad_shape=(SIZE, SIZE), scale_factor=(1., 1.),
                                             ori_shape=(SIZE, SIZE), batch_input_shape=(SIZE, SIZE)))
        sample.gt_instances = InstanceData(bboxes=torch.tensor(boxes).reshape(-1, 4),
                                           labels=torch.tensor(labels, dtype=torch.long))
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        samples.append(sample)
    return torch.randn(2, 3, SIZE, SIZE), samples
