"""Adder2d inside OpenMMLab: as a conv type, under initialisers, in state dicts."""

import copy

import pytest
import torch
from mmcv.cnn import ConvModule, build_conv_layer
from mmengine.model import BaseModule
from torch import nn

from projects.adder import Adder2d, adder2d


def test_built_by_conv_cfg():
    layer = build_conv_layer(dict(type='Adder2d', eta=0.1, grad_input='sign'), 3, 8, 3, stride=2, padding=1, bias=False)
    assert (layer.eta, layer.grad_input, layer.bias) == (0.1, 'sign', None)
    x = torch.randn(2, 3, 9, 9)
    torch.testing.assert_close(layer(x), adder2d(x, layer.weight, None, 2, 1))
    assert layer(x).shape == nn.Conv2d(3, 8, 3, 2, 1)(x).shape


def test_conv_module_keeps_the_layers_own_initialisation():
    torch.manual_seed(0)
    module = ConvModule(64, 64, 3, padding=1, conv_cfg=dict(type='Adder2d'), norm_cfg=dict(type='BN'))
    assert module.conv.bias is None  # 'auto': a norm follows
    module.init_weights()
    assert module.conv.weight.std().item() == pytest.approx(1, abs=0.02)  # Kaiming would give 0.059
    assert module(torch.randn(2, 64, 5, 5)).shape == (2, 64, 5, 5)


def test_reflect_padding_is_done_by_conv_module():
    module = ConvModule(3, 4, 3, padding=1, padding_mode='reflect', conv_cfg=dict(type='Adder2d'))
    x = torch.randn(1, 3, 6, 6)
    expected = adder2d(nn.functional.pad(x, (1, 1, 1, 1), 'reflect'), module.conv.weight, module.conv.bias).relu()
    torch.testing.assert_close(module(x), expected)


def test_initialisers_for_convolutions_leave_it_alone():
    class Net(BaseModule):
        def __init__(self):
            super().__init__(init_cfg=dict(type='Constant', layer='Conv2d', val=7.))
            self.conv, self.adder = nn.Conv2d(3, 3, 1), Adder2d(3, 3, 1)

    net = Net()
    net.init_weights()
    assert (net.conv.weight == 7).all() and not (net.adder.weight == 7).any()
    assert not isinstance(net.adder, nn.Conv2d)


def test_same_padding_and_state():
    layer = Adder2d(3, 4, (3, 5), padding='same', dilation=2)
    assert layer(torch.randn(1, 3, 9, 11)).shape == (1, 4, 9, 11)
    clone = copy.deepcopy(layer)
    clone.load_state_dict(layer.state_dict())
    assert list(layer.state_dict()) == ['weight', 'bias']
    assert torch.equal(clone.weight, layer.weight)


@pytest.mark.parametrize('options', [dict(groups=3), dict(padding_mode='reflect'), dict(grad_input='l2'),
                                     dict(adaptive_lr='forward'), dict(backend='x'), dict(padding='same', stride=2)])
def test_what_is_not_supported_is_refused(options):
    with pytest.raises(ValueError, match=f'{next(iter(options))}='):
        Adder2d(3, 6, 3, **options)


@pytest.mark.parametrize('adaptive_lr', ['backward', 'optimizer', None])
def test_where_the_factor_is_applied(adaptive_lr):
    torch.manual_seed(0)
    layer = Adder2d(4, 4, 3, adaptive_lr=adaptive_lr)
    layer(torch.randn(1, 4, 6, 6)).square().sum().backward()
    scaled = abs(layer.weight.grad.norm().item() - 0.2 * layer.weight.numel()**0.5) < 1e-3
    assert scaled == (adaptive_lr == 'backward')
