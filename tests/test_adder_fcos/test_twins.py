"""Adder and convolutional twins of whole detectors, and what the head does to adder towers."""

import pytest
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from projects.adder import Adder2d


def build(root, name):
    init_default_scope('mmdet')
    return MODELS.build(Config.fromfile(root / 'configs' / f'{name}.py').model)


def count(model):
    return sum(p.numel() for p in model.parameters())


def convolutions(model):
    return {name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}


def test_twins_have_the_same_parameters(root):
    adder, conv = build(root, 'adder_fcos_r50'), build(root, 'fcos_r50')
    assert {n: p.shape for n, p in adder.named_parameters()} == {n: p.shape for n, p in conv.named_parameters()}
    assert not any(isinstance(m, Adder2d) for m in conv.modules())


def test_what_the_variants_convert(root):
    """B: everything but the stem; N: every layer of the neck; H: the towers but not the predictors."""
    b, bn, bnh = (build(root, f'adder_fcos_r50{suffix}') for suffix in ('_b', '', '_bnh'))
    parts = [{name.split('.')[0] for name in convolutions(model)} for model in (b, bn, bnh)]
    assert parts == [{'backbone', 'neck', 'bbox_head'}, {'backbone', 'bbox_head'}, {'backbone', 'bbox_head'}]
    assert convolutions(bnh) == {'backbone.conv1'} | {
        f'bbox_head.{name}' for name in ('conv_cls', 'conv_reg', 'conv_centerness')}
    # the plain FPN of B has no second path: 4 layers of 3x3 less, and convolution biases instead of norms
    assert count(bn) - count(b) == 4 * (256 * 256 * 9 + 2 * 256) + 8 * 256


def test_neck_ablation_has_the_layers_of_table_4(root):
    layers = {name: sum(isinstance(m, Adder2d) for m in build(root, f'adder_fcos_r50{name}').neck.modules())
              for name in ('_fpn', '_pafpn', '_pafpn_shortcut', '')}
    assert layers == {'_fpn': 8, '_pafpn': 12, '_pafpn_shortcut': 12, '': 12}


def test_retina_towers_start_as_adder_filters(root):
    model = build(root, 'adder_retinanet_r50_640_bnh')
    model.init_weights()
    towers = [m for m in model.bbox_head.modules() if isinstance(m, Adder2d)]
    assert len(towers) == 8  # 4 + 4, shared by five levels
    for tower in towers:
        assert tower.weight.std().item() == pytest.approx(1, abs=0.02)  # mmdet's head would leave 0.01
    assert convolutions(model) == {'backbone.conv1', 'bbox_head.retina_cls', 'bbox_head.retina_reg'}
