"""The order of operations in an adder unit, its self-shortcut, and units in other networks."""

import pytest
import torch
from mmcv.cnn import build_conv_layer
from torch import nn

from projects.adder import Adder2d, adder2d
from projects.adder_sr import AdderResidualBlock, AdderUnit, PowerActivation
from projects.restoration import CARN, EDSR


def set_powers(module, value):
    for layer in module.modules():
        if isinstance(layer, PowerActivation):
            nn.init.constant_(layer.alpha, value)


def silence(module):
    """Without weight and bias in its norm nothing is left of an adder layer."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)


@pytest.mark.parametrize('training', [True, False])
def test_silent_unit_is_the_power_of_the_relu(training):
    """The identity of the self-shortcut: adder layers alone can never be one (theorem 1)."""
    unit = AdderUnit(4).train(training)
    silence(unit), set_powers(unit, 1.7)
    x = torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(unit(x), x.relu() ** 1.7)
    unit = AdderUnit(4, relu=False).train(training)
    silence(unit)
    assert torch.equal(unit(x), x)
    without = AdderUnit(4, self_shortcut=False).train(training)
    silence(without)
    assert not without(x).any()


def test_order_of_operations():
    """Adder layer, batch norm, plus the input, ReLU, power; nothing else."""
    torch.manual_seed(0)
    unit = AdderUnit(3).eval()
    nn.init.uniform_(unit.norm.running_mean, -40, -20), nn.init.uniform_(unit.norm.running_var, 1, 9)
    nn.init.uniform_(unit.norm.weight), nn.init.uniform_(unit.norm.bias)
    set_powers(unit, 0.6)
    x = torch.randn(2, 3, 5, 5)
    norm = unit.norm
    y = adder2d(x, unit.adder.weight, padding=1) - norm.running_mean[:, None, None]
    y = y / (norm.running_var[:, None, None] + norm.eps).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(unit(x), (y + x).clamp_min(0) ** 0.6, rtol=1e-4, atol=1e-5)


def test_silent_block_keeps_its_own_skip():
    block = AdderResidualBlock(4, res_scale=0.1)
    silence(block), set_powers(block, 2.)
    x = torch.randn(1, 4, 5, 5)
    torch.testing.assert_close(block(x), x + 0.1 * x.relu() ** 4)
    relus = [type(unit.relu).__name__ for unit in block.body]
    powers = [type(unit.power).__name__ for unit in block.body]
    assert relus == ['ReLU', 'Identity'] and powers == ['PowerActivation'] * 2
    bare = AdderResidualBlock(4, second_power=False)
    assert [type(unit.power).__name__ for unit in bare.body] == ['PowerActivation', 'Identity']


def test_block_begins_near_its_skip():
    """The norms begin with 0.1 and 0, so that a new network is not drowned in normalised noise."""
    block = AdderResidualBlock(4, res_scale=0.1)
    assert [unit.norm.weight.unique().item() for unit in block.body] == pytest.approx([0.1, 0.])
    x = 5 + torch.rand(2, 4, 6, 6)
    torch.testing.assert_close(block(x), 1.1 * x, atol=0.1, rtol=0)


def test_gradients_reach_everything():
    block = AdderResidualBlock(4, norm_weights=(1., 1.))
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    block(x.relu()).square().mean().backward()  # with exact zeros
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in block.parameters())
    assert x.grad.isfinite().all()


def test_built_like_a_convolution():
    """With more channels out there is no shortcut; the adder layer has no bias, as a norm follows."""
    power = dict(type='PowerActivation', per_channel=True)
    unit = build_conv_layer(dict(type='AdderUnit', relu=False, power_cfg=power), 4, 12, 5, padding=2)
    assert isinstance(unit.adder, Adder2d) and unit.adder.bias is None and not unit.self_shortcut
    assert unit.power.alpha.shape == (12,)
    assert unit(torch.randn(1, 4, 7, 9)).shape == (1, 12, 7, 9)


@pytest.mark.parametrize('network, arguments, units, shortcuts', [
    (CARN, {}, 18, 18),  # 3 blocks of 3 residual units of 2 layers
    (EDSR, dict(num_blocks=3, upscale_factor=4), 6, 6)])
def test_other_networks_by_configuration(network, arguments, units, shortcuts):
    model = network(mid_channels=8, conv_cfg=dict(type='AdderUnit', relu=False), **arguments)
    found = [m for m in model.modules() if isinstance(m, AdderUnit)]
    assert (len(found), sum(m.self_shortcut for m in found)) == (units, shortcuts)
    model(torch.rand(1, 3, 6, 6)).square().mean().backward()
    assert all(m.adder.weight.grad.any() for m in found)


def test_refused_arguments():
    with pytest.raises(ValueError, match='norm_cfg=None'):
        AdderUnit(4, norm_cfg=None)
    with pytest.raises(ValueError, match='padding=0 with kernel_size=3, expected 1'):
        AdderUnit(4, padding=0)
