"""Sizes and costs of the published networks, their parts, and what `conv_cfg` replaces."""

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

import projects.adder  # noqa: F401
from projects.restoration import CARN, EDSR, IMDN, RDN, VDSR
from projects.restoration.layers import MeanShift, Upsampler

LARGE = dict(mid_channels=256, num_blocks=32, res_scale=0.1)
CARN_M = dict(multi_scale=True, groups=4)
# network, arguments, scale, parameters (a whole number, or thousands as published), multiply-adds in G at 1280 x 720
TABLE = [
    (VDSR, {}, 1, 664_704, 612.6),
    (EDSR, {}, 2, 1_369_859, 316.2), (EDSR, {}, 3, 1_554_499, 160.3), (EDSR, {}, 4, 1_517_571, 114.2),
    (EDSR, LARGE, 2, 40_729_603, 9384.7), (EDSR, LARGE, 3, 43_680_003, 4476.5), (EDSR, LARGE, 4, 43_089_923, 2894.5),
    (RDN, {}, 2, 22_123_395, 5096.2), (RDN, {}, 3, 22_308_035, 2284.7), (RDN, {}, 4, 22_271_107, 1309.2),
    (CARN, {}, 2, '964K', 222.8), (CARN, {}, 3, '1149K', 118.8), (CARN, {}, 4, '1112K', 90.9),
    (CARN, dict(multi_scale=True), 2, '1592K', 222.8), (CARN, dict(multi_scale=True), 4, '1592K', 90.9),
    (CARN, CARN_M, 2, '415K', 91.2), (CARN, CARN_M, 3, '415K', 46.1), (CARN, CARN_M, 4, '415K', 32.5),
    (IMDN, {}, 2, '694K', 158.8), (IMDN, {}, 3, '703K', 71.4), (IMDN, {}, 4, '715K', 40.9),
]


def count_macs(model, image):
    """Multiply-adds of the convolutions, seen by hooks during one forward pass."""
    total = 0

    def count(layer, _, output):
        nonlocal total
        total += output.numel() * layer.weight[0].numel()

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.Conv2d)]
    model(image)
    for hook in hooks:
        hook.remove()
    return total


@pytest.mark.parametrize('network, arguments, scale, parameters, macs', TABLE)
def test_published_sizes_and_costs(network, arguments, scale, parameters, macs):
    with torch.device('meta'):
        model = network(upscale_factor=scale, **arguments)
        side = 120
        image = torch.empty(1, 1 if network is VDSR else 3, side, side)
        counted = count_macs(model, image) / 1e9 * (1280 * 720) / (side * scale) ** 2
    size = sum(p.numel() for p in model.parameters())
    assert (f'{size / 1000:.0f}K' if isinstance(parameters, str) else size) == parameters
    assert counted == pytest.approx(macs, abs=0.05001)


@pytest.mark.parametrize('network, arguments', [
    (EDSR, dict(num_blocks=1)), (RDN, dict(num_blocks=2, num_layers=2)), (CARN, {}), (CARN, dict(groups=4)),
    (IMDN, dict(num_blocks=2)), (VDSR, dict(in_channels=3, num_layers=4))])
@pytest.mark.parametrize('scale', [2, 3, 4])
def test_output_is_scale_times_the_input(network, arguments, scale):
    out = network(upscale_factor=scale, mid_channels=16, **arguments)(torch.rand(2, 3, 7, 9))
    assert out.shape == (2, 3, 7 * scale, 9 * scale) and torch.isfinite(out).all()


def test_residual_branch_is_scaled():
    """With zeroed trunk layers EDSR's blocks are the identity, and res_scale multiplies what they add."""
    block = MODELS.build(dict(type='ResidualBlockNoBN', channels=4, res_scale=0.1))
    x = torch.rand(1, 4, 5, 5)
    added = block(x) - x
    block.res_scale = 1.0
    torch.testing.assert_close((block(x) - x) * 0.1, added)
    nn.init.zeros_(block.body[2].weight), nn.init.zeros_(block.body[2].bias)
    assert torch.equal(block(x), x)


def test_mean_shift_subtracts_and_adds_exactly():
    image = torch.full((1, 3, 2, 2), 100.0)
    less = MeanShift(-1)(image)
    torch.testing.assert_close(less[0, :, 0, 0], 100 - 255 * torch.tensor([0.4488, 0.4371, 0.4040]))
    torch.testing.assert_close(MeanShift(1)(less), image)


def test_edsr_has_the_public_codes_parameter_names():
    names = EDSR(num_blocks=2, upscale_factor=4).state_dict().keys()
    assert {'sub_mean.weight', 'add_mean.bias', 'head.0.weight', 'body.0.body.0.weight', 'body.1.body.2.bias',
            'body.2.weight', 'tail.0.0.weight', 'tail.0.2.weight', 'tail.1.bias'} <= set(names)
    assert 'upsample.up3.body.0.weight' in CARN(multi_scale=True).state_dict()
    assert 'rdbs.0.layers.1.conv.weight' in RDN(num_blocks=1).state_dict()
    assert 'IMDB6.cca.conv_du.0.weight' in IMDN().state_dict()


def test_carn_shares_everything_but_the_upsamplers():
    model = CARN(mid_channels=16, multi_scale=True).eval()
    x = torch.rand(1, 3, 6, 6)
    assert [model(x, scale).shape[-1] for scale in (2, 3, 4)] == [12, 18, 24]
    single = CARN(mid_channels=16, upscale_factor=3)
    weights = {key.replace('up3', 'up'): value for key, value in model.state_dict().items()
               if 'up2' not in key and 'up4' not in key}
    single.load_state_dict(weights)
    assert torch.equal(single(x), model(x, 3))
    with pytest.raises(ValueError, match='scale 2 was asked for'):
        single(x, 2)


def test_carn_m_uses_one_unit_three_times():
    model = CARN(mid_channels=16, groups=4)
    calls = []
    model.b1.b1.register_forward_hook(lambda *_: calls.append(1))
    model(torch.rand(1, 3, 4, 4))
    assert len(calls) == 3 and not hasattr(model.b1, 'b2')


def test_imdn_trains_on_a_constant_patch():
    """The standard deviation has no gradient at zero; a flat patch must not break the training."""
    model = IMDN(mid_channels=16, num_blocks=1)
    for layer in (model.fea_conv, model.IMDB1.c1):
        nn.init.zeros_(layer.weight)
    model(torch.zeros(1, 3, 8, 8)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize('network, arguments, layers', [
    (EDSR, dict(num_blocks=3), 6), (VDSR, dict(num_layers=5), 3), (RDN, dict(num_blocks=2, num_layers=3), 6),
    (CARN, {}, 18), (CARN, dict(conv_cfg=None), 0), (IMDN, dict(num_blocks=2), 6)])
def test_adder_layers_by_configuration(network, arguments, layers):
    """conv_cfg reaches the 3x3 layers of the trunk and nothing else, also where a ReLU works in place on the output.

    That they learn takes a normalisation behind each, which is AdderSR's business.
    """
    cfg = dict(type=network.__name__, mid_channels=16, upscale_factor=2, conv_cfg=dict(type='Adder2d')) | arguments
    model = MODELS.build(cfg)
    found = [m for m in model.modules() if type(m).__name__ == 'Adder2d']
    assert len(found) == layers
    image = torch.rand(1, 1 if network is VDSR else 3, 6, 6)
    model(image).square().mean().backward()
    assert all(m.weight.grad is not None for m in found)


def test_other_places_of_edsr_by_configuration():
    adder = dict(type='Adder2d')
    model = EDSR(mid_channels=8, num_blocks=1, upscale_factor=4, body_end_conv_cfg=adder, upsampler_conv_cfg=adder)
    names = [name for name, m in model.named_modules() if type(m).__name__ == 'Adder2d']
    assert names == ['body.1', 'tail.0.0', 'tail.0.2']


def test_blocks_are_replaceable():
    @MODELS.register_module(force=True)
    class HalvingBlock(nn.Module):
        def __init__(self, channels, strength, **_):
            super().__init__()
            self.strength = strength

        def forward(self, x):
            return x * self.strength

    edsr = EDSR(num_blocks=2, mid_channels=4, block=dict(type='HalvingBlock', strength=0.5))
    vdsr = VDSR(num_layers=5, mid_channels=4, block=dict(type='HalvingBlock', strength=0.5))
    assert torch.equal(edsr.body[:2](torch.ones(1)), torch.tensor([0.25]))
    assert torch.equal(vdsr.residual_layer(torch.ones(1)), torch.tensor([0.125]))


def test_unknown_scale():
    with pytest.raises(ValueError, match='upscale_factor=5'):
        Upsampler(5, 8)
