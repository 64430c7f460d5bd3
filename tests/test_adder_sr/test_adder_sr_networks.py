"""Adder EDSR and VDSR: sizes, what is an adder layer and what is not, energy, learning, integers."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from torch import nn

from projects.adder import Adder2d, QuantAdder2d
from projects.adder.quantization import calibrate, quantize
from projects.adder_sr import AdderEDSR, AdderUnit, AdderVDSR, PowerActivation
from projects.restoration import psnr

LARGE = dict(mid_channels=256, num_blocks=32)
PJ_MUL, PJ_ADD = 3.7, 0.9  # float32


def count(model, kind):
    return [name for name, module in model.named_modules() if isinstance(module, kind)]


@pytest.mark.parametrize('network, arguments, parameters', [
    # each adder layer has no bias (256) but a norm (2 x 256) and an exponent
    (AdderEDSR, dict(upscale_factor=2, **LARGE), 40_729_603 + 65 * (256 + 1)),
    (AdderEDSR, dict(upscale_factor=3, **LARGE), 43_680_003 + 65 * (256 + 1)),
    (AdderEDSR, dict(upscale_factor=4, **LARGE), 43_089_923 + 65 * (256 + 1)),
    (AdderEDSR, dict(upscale_factor=2, power_cfg=None, self_shortcut=False, **LARGE), 40_729_603 + 65 * 256),
    (AdderVDSR, {}, 664_704 + 18 * (2 * 64 + 1))])
def test_parameters(network, arguments, parameters):
    with torch.device('meta'):
        model = network(**arguments)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize('scale, upsampler', [(2, ['tail.0.0']), (3, ['tail.0.0']), (4, ['tail.0.0', 'tail.0.2'])])
def test_what_is_an_adder_layer(scale, upsampler):
    with torch.device('meta'):
        model, full = (AdderEDSR(upscale_factor=scale, adder_upsample=adder, **LARGE) for adder in (False, True))
        vdsr = AdderVDSR()
    assert count(model, nn.Conv2d) == ['head.0', *upsampler, 'tail.1'] and len(count(model, Adder2d)) == 65
    assert count(full, nn.Conv2d) == ['head.0', 'tail.1'] and len(count(full, Adder2d)) == 65 + len(upsampler)
    assert count(vdsr, nn.Conv2d) == ['input', 'output'] and len(count(vdsr, Adder2d)) == 18
    for network in (model, full, vdsr):
        units = [m for m in network.modules() if isinstance(m, AdderUnit)]
        assert len(units) == len(count(network, Adder2d)) == len(count(network, nn.BatchNorm2d))
        assert len(count(network, PowerActivation)) == len(units)
        assert [u.self_shortcut for u in units] == [u.adder.in_channels == u.adder.out_channels for u in units]
    # ReLUs: one a block, one a layer of VDSR and one behind its first
    assert len(count(model, nn.ReLU)) == 32 and len(count(vdsr, nn.ReLU)) == 19


def operations(model, image):
    """Multiplications and additions of one forward pass; an adder layer subtracts and adds up."""
    found = dict(mul=0, add=0)

    def add(layer, _, output):
        macs = output.numel() * layer.weight[0].numel()
        convolution = isinstance(layer, nn.Conv2d)
        found['mul'] += macs if convolution else 0
        found['add'] += macs if convolution else 2 * macs

    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, Adder2d)):
            layer.register_forward_hook(add)
    model(image)
    return found['mul'], found['add']


@pytest.mark.parametrize('network, scale, arguments, expected', [
    (AdderVDSR, 1, {}, (1.06, 1224.1, 1106)),
    (AdderEDSR, 2, dict(adder_upsample=True), (8.0, 18761.5, 16915)), (AdderEDSR, 2, {}, (551.5, 18218.0, 18437)),
    (AdderEDSR, 3, dict(adder_upsample=True), (7.1, 8946.0, 8078)), (AdderEDSR, 3, {}, (550.7, 8402.4, 9600)),
    (AdderEDSR, 4, dict(adder_upsample=True), (6.8, 5782.3, 5229)), (AdderEDSR, 4, {}, (686.2, 5102.8, 7132))])
def test_energy_for_a_picture_of_1280_by_720(network, scale, arguments, expected):
    """Billions of operations and millijoules in float32; the convolutional twins need 2.55 times as much, or less."""
    side = 60
    with torch.device('meta'):
        model = network(upscale_factor=scale, **(LARGE if network is AdderEDSR else {}), **arguments)
        found = operations(model, torch.empty(1, 1 if network is AdderVDSR else 3, side, side))
    mul, add = (number / 1e9 * 1280 * 720 / (side * scale) ** 2 for number in found)
    assert (mul, add) == pytest.approx(expected[:2], abs=0.051)
    assert mul * PJ_MUL + add * PJ_ADD == pytest.approx(expected[2], abs=0.51)


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_sizes_of_pictures(scale):
    edsr = AdderEDSR(mid_channels=8, num_blocks=1, upscale_factor=scale, adder_upsample=scale == 4)
    assert edsr(torch.rand(2, 3, 7, 9)).shape == (2, 3, 7 * scale, 9 * scale)
    assert AdderVDSR(mid_channels=8, num_layers=4)(torch.rand(2, 1, 7, 9), scale).shape == (2, 1, 7 * scale, 9 * scale)


def test_silent_units_leave_the_identity():
    """Without its branches an adder VDSR whose last layer inverts the first is a doubling of the interpolated image.

    Of non-negative pixels, for the ReLUs; the global skip is the other half.
    """
    model = AdderVDSR(in_channels=1, mid_channels=4, num_layers=20)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.zeros_(norm.weight)
    for layer in (model.input, model.output):
        nn.init.zeros_(layer.weight)
        layer.weight.data[0, 0, 1, 1] = 1
    image = torch.rand(1, 1, 6, 6)
    torch.testing.assert_close(model(image, 1), 2 * image)


def test_filters_begin_as_adder_filters():
    """VDSR's and mmengine's initialisation leave them alone."""
    model = AdderVDSR(mid_channels=32, num_layers=5)
    model.init_weights()
    for layer in (m for m in model.modules() if isinstance(m, Adder2d)):
        assert layer.weight.std().item() == pytest.approx(1, abs=0.03)


def test_convolutional_twin():
    adder, conv = AdderEDSR(num_blocks=2), AdderEDSR(num_blocks=2, conv_cfg=None)
    assert [(n, p.shape) for n, p in adder.named_parameters()] == [(n, p.shape) for n, p in conv.named_parameters()]
    assert not count(conv, Adder2d)


# ---- learning

def pictures():
    """Stripes of several directions and their halved versions: (16, 3, 24, 24) and (16, 3, 12, 12) in 0..255."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(48.), torch.arange(48.), indexing='ij')
    angle, period, colour = (torch.rand(16, n, 1, 1, generator=generator) for n in (1, 1, 6))
    wave = torch.sin((x * torch.cos(angle * 3.2) + y * torch.sin(angle * 3.2)) / (2 + 4 * period)) > 0
    large = torch.where(wave, colour[:, :3], colour[:, 3:]) * 255
    truth = nn.functional.avg_pool2d(large, 2)
    return nn.functional.avg_pool2d(truth, 2), truth


def train(model, steps, lr):
    """Loss of each step."""
    wrapper = build_optim_wrapper(model, dict(
        constructor='AdderSROptimWrapperConstructor', optimizer=dict(type='Adam', lr=lr)))
    inputs, truth = pictures()
    losses = []
    for _ in range(steps):
        loss = nn.functional.l1_loss(model(inputs), truth)
        wrapper.update_params(loss)
        losses.append(loss.item())
    return losses


def tiny(**arguments):
    torch.manual_seed(0)
    return AdderEDSR(mid_channels=16, num_blocks=3, upscale_factor=2, **arguments)


def test_twenty_steps_reduce_the_loss():
    losses = train(tiny(), 20, lr=1e-3)
    assert all(torch.isfinite(torch.tensor(losses))) and losses[-1] < 0.7 * losses[0]


# ---- integers

def test_int8():
    """A trained adder EDSR on 8-bit integers, after calibration on its own images, stays close to itself."""
    model = tiny(conv_cfg=dict(type='Adder2d'))
    train(model, 30, lr=1e-3)
    model.eval()
    inputs, _ = pictures()
    integer = copy.deepcopy(model)
    with torch.no_grad():
        before = model(inputs)
        with calibrate(integer) as ranges:
            integer(inputs)
        quantize(integer, ranges, scheme='shared', bits=8)
        after = integer(inputs)
    assert len(count(integer, QuantAdder2d)) == 7 and not count(integer, Adder2d)
    assert not torch.equal(before, after)
    difference = [psnr(a.permute(1, 2, 0).numpy(), b.permute(1, 2, 0).numpy())
                  for a, b in zip(after, before, strict=True)]
    assert min(difference) > 30


@pytest.mark.parametrize('cfg', [
    dict(type='AdderEDSR', mid_channels=8, num_blocks=1, adder_upsample=True), dict(type='AdderVDSR', num_layers=4)])
def test_integer_network_is_built_from_its_config(cfg, load_tool):
    """What tools/analysis_tools/quantize_adder.py does with a config that names the adder layer."""
    cfg = Config(dict(model=dict(cfg, conv_cfg=dict(type='Adder2d'))))
    new = load_tool('analysis_tools/quantize_adder.py').integer_config(cfg, bits=8, num_scales=1)
    model, integer = MODELS.build(cfg.model).eval(), MODELS.build(new.model).eval()
    assert count(integer, QuantAdder2d) == count(model, Adder2d) and not count(integer, Adder2d)
    image = torch.rand(1, 1 if 'num_layers' in cfg.model else 3, 6, 6)
    with torch.no_grad():
        with calibrate(model) as ranges:
            model(image)
        quantize(model, ranges, scheme='shared')
        integer.load_state_dict(model.state_dict())
        assert torch.equal(integer(image), model(image))
