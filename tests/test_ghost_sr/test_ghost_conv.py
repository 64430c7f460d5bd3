"""The shift, the choice of a direction, and the ghost layer inside OpenMMLab."""

import copy

import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn
from torch.nn import functional as F

import projects.adder  # noqa: F401
from projects.ghost_sr import GhostConv2d
from projects.ghost_sr.direction import gumbel_noise, one_hot_window
from projects.ghost_sr.shift import ConcatShifted, concat_shifted, offset_products, translate

OFFSETS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]


def one_hot(offset, reach=1):
    window = torch.zeros(1, 1, 2 * reach + 1, 2 * reach + 1)
    window[0, 0, offset[0] + reach, offset[1] + reach] = 1
    return window


@pytest.mark.parametrize('offset', OFFSETS)
def test_slices_convolution_and_roll_agree_exactly(offset):
    maps = torch.randn(2, 3, 5, 6)
    by_conv = F.conv2d(maps, one_hot(offset).expand(3, 1, 3, 3), padding=1, groups=3)
    rolled = maps.roll([-o for o in offset], (2, 3))
    for axis, o in zip((2, 3), offset, strict=True):
        if o:
            rolled.select(axis, -1 if o > 0 else 0).zero_()
    assert torch.equal(translate(maps, offset), by_conv)
    assert torch.equal(rolled, by_conv)


def test_offsets_beyond_the_map_leave_zeros():
    maps = torch.ones(1, 1, 2, 1)
    assert translate(maps, (0, 2)).eq(0).all() and translate(maps, (-3, 0)).eq(0).all()
    assert translate(maps, (1, 0)).flatten().tolist() == [1, 0]


def test_products_with_all_shifts():
    a, b = torch.randn(2, 3, 4, 5, dtype=torch.double), torch.randn(2, 3, 4, 5, dtype=torch.double)
    found = offset_products(a, b, 2)
    expected = [[(a * translate(b, (dy, dx))).sum() for dx in range(-2, 3)] for dy in range(-2, 3)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.double))


@pytest.mark.parametrize('offset', [(0, 0), (1, 0), (-1, 1), (-2, 2)])
def test_gradients_are_those_of_the_one_hot_convolution(offset):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 5, 3, dtype=torch.double, requires_grad=True)
    window = one_hot(offset, 2).double().requires_grad_()
    upstream = torch.randn(2, 7, 5, 3, dtype=torch.double)
    by_conv = torch.cat([x, F.conv2d(x[:, 1:], window.expand(3, 1, 5, 5), padding=2, groups=3)], 1)
    expected = torch.autograd.grad(by_conv, (x, window), upstream)
    found = torch.autograd.grad(ConcatShifted.apply(x, x[:, 1:], window, offset), (x, window), upstream)
    torch.testing.assert_close(found, expected)


def test_softmax_form_has_the_gradient_of_the_softmax():
    """Signed scores, a one-hot window forwards, and backwards the Jacobian of softmax((W + N) / tau)."""
    window = torch.tensor([[-9., 1, 2], [0, 3, 1], [0, 0, 0]], dtype=torch.double).reshape(1, 1, 3, 3).requires_grad_()
    noise = torch.full_like(window, 0.25)
    hot, position = one_hot_window(window, noise, 'gumbel_softmax', tau=2.)
    assert hot.flatten().tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0] and position.tolist() == [4]
    upstream = torch.randn(9, dtype=torch.double)
    p = ((window.detach() + noise) / 2).flatten().softmax(0)
    expected = (torch.diag(p) - p[:, None] * p) @ upstream / 2
    grad, = torch.autograd.grad(hot.flatten() @ upstream, window)
    torch.testing.assert_close(grad.flatten(), expected)


def test_absolute_form_follows_the_largest_magnitude_and_passes_the_gradient_on():
    window = torch.tensor([[-9., 1, 2], [0, 3, 1], [0, 0, 0]]).reshape(1, 1, 3, 3).requires_grad_()
    hot, position = one_hot_window(window, torch.zeros(1, 1, 3, 3), 'ste_abs')
    assert position.tolist() == [0]
    upstream = torch.randn(1, 1, 3, 3)
    assert torch.equal(torch.autograd.grad(hot, window, upstream)[0], upstream)


def test_noise():
    """A Gumbel(0, 1) variable has the mean 0.5772 and the variance pi^2 / 6; u = 0 gives no infinity."""
    torch.manual_seed(0)
    noise = gumbel_noise(torch.rand(400_000))
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.01)
    assert noise.var().item() == pytest.approx(1.6449, abs=0.02)
    assert torch.isfinite(gumbel_noise(torch.zeros(1))).all()


def test_noise_decays_with_the_epoch():
    layer = GhostConv2d(4, 4, 3)
    scales = []
    for layer.epoch in (1, 50, 100):
        scales.append(round(layer.noise_scale, 3))
    assert scales == [1, 0.225, 0.049]


def test_training_explores_and_evaluation_does_not():
    torch.manual_seed(0)
    layer, x = GhostConv2d(2, 4, 3, padding=1, direction=(0, 1)), torch.randn(1, 2, 6, 6)
    shifted = {o: translate(layer.primary_conv(x), o) for o in OFFSETS}

    def direction():
        return next(o for o, maps in shifted.items() if torch.equal(layer(x)[:, 2:], maps))

    layer.train()
    uniform = [torch.rand(1, 1, 3, 3) for _ in range(40)]
    layer.sample_uniform = lambda: uniform[0]  # the two calls of one comparison see one sample
    seen = set()
    while uniform:
        seen.add(direction())
        uniform.pop(0)
    assert len(seen) > 4
    assert layer.eval() and {direction() for _ in range(5)} == {(0, 1)}
    fixed = GhostConv2d(2, 4, 3, mode='fixed', direction=(1, 1)).train()
    assert fixed.offsets() == [(1, 1)] and not fixed.shift_weight.requires_grad
    assert torch.equal(fixed(x)[:, 2:], translate(fixed.primary_conv(x), (1, 1)))


def test_window_starts_uniform_within_a_third():
    """Kaiming's rule with a = sqrt(5) for one 3x3 window."""
    torch.manual_seed(0)
    drawn = torch.cat([GhostConv2d(2, 2, 1).shift_weight.detach().flatten() for _ in range(300)])
    assert drawn.abs().max().item() == pytest.approx(1 / 3, abs=1e-3)
    assert drawn.std().item() == pytest.approx(1 / 3 / 3 ** 0.5, rel=0.05)


def test_a_direction_for_each_ghost_map():
    torch.manual_seed(0)
    layer, x = GhostConv2d(3, 12, 3, padding=1, share_direction=False).eval(), torch.randn(2, 3, 5, 5)
    offsets = layer.offsets()
    assert len(offsets) == 6 and len(set(offsets)) > 1
    maps = layer.primary_conv(x)
    expected = [translate(maps[:, i], offset) for i, offset in enumerate(offsets)]
    assert torch.equal(layer(x)[:, 6:], torch.stack(expected, 1))
    layer.train().noise_decay, layer.epoch = 0, 2  # no noise: training must shift alike
    out = layer(x)
    torch.testing.assert_close(out[:, 6:], torch.stack(expected, 1))
    out.square().sum().backward()
    assert (layer.shift_weight.grad.flatten(1) != 0).any(1).all()


@pytest.mark.parametrize('ratio, channels, intrinsic, sources', [
    (0.5, 9, 5, [0, 1, 2, 3]), (0.75, 8, 6, [0, 1]), (0.3, 8, 3, [0, 1, 2, 0, 1]), (1, 4, 4, []),
    (0.7, 10, 7, [0, 1, 2]), (0.1, 30, 3, [0, 1, 2] * 9)])
def test_ghosts_cycle_over_the_intrinsic_maps(ratio, channels, intrinsic, sources):
    layer, x = GhostConv2d(2, channels, 3, padding=1, ratio=ratio, direction=(1, 0)).eval(), torch.randn(1, 2, 4, 4)
    assert layer.primary_conv.out_channels == intrinsic
    assert layer.source_index.tolist() == sources
    maps = layer.primary_conv(x)
    assert torch.equal(layer(x)[:, intrinsic:], translate(maps[:, sources], (1, 0)))


def test_channels_are_state():
    """Which map stands where travels with the checkpoint."""
    torch.manual_seed(0)
    layer = GhostConv2d(3, 7, 3, padding=1).eval()
    layer.set_channels(torch.tensor([3, 0, 3]), torch.tensor([6, 0, 4, 1, 5, 3, 2]))
    x = torch.randn(1, 3, 5, 5)
    maps, offset = layer.primary_conv(x), layer.offsets()[0]
    expected = [translate(maps[:, 3], offset), maps[:, 0], translate(maps[:, 3], offset), maps[:, 1],
                translate(maps[:, 0], offset), maps[:, 3], maps[:, 2]]
    assert torch.equal(layer(x), torch.stack(expected, 1))
    other = GhostConv2d(3, 7, 3, padding=1).eval()
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), layer(x)) and torch.equal(copy.deepcopy(other)(x), layer(x))
    for source, order, message in (([4, 0, 0], range(7), 'source_index'), ([0, 0, 0], [0] * 7, 'output_index')):
        with pytest.raises(ValueError, match=message):
            layer.set_channels(torch.tensor(source), torch.tensor(list(order)))


def test_inside_a_conv_module():
    module = ConvModule(4, 8, 3, padding=1, conv_cfg=dict(type='GhostConv2d', ratio=0.25), norm_cfg=dict(type='BN'))
    module.init_weights()
    assert module.conv.primary_conv.bias is None  # 'auto': a norm follows
    assert module.conv.primary_conv.weight.shape == (2, 4, 3, 3)
    module(torch.randn(2, 4, 6, 6)).square().mean().backward()
    assert module.conv.shift_weight.grad.abs().sum() > 0


def test_adder_layer_as_the_primary_one():
    torch.manual_seed(0)
    layer = GhostConv2d(4, 6, 3, padding=1, primary_cfg=dict(type='Adder2d'))
    x = torch.randn(1, 4, 6, 6)
    assert type(layer.primary_conv).__name__ == 'Adder2d'
    assert torch.equal(layer.eval()(x)[:, 3:], translate(layer.primary_conv(x), layer.offsets()[0]))
    layer.train()(x).sum().backward()
    assert layer.primary_conv.weight.grad.abs().sum() > 0


def test_layout_is_kept():
    maps = torch.randn(2, 4, 5, 6).contiguous(memory_format=torch.channels_last)
    out = concat_shifted(maps, maps, [(0, 1)])
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(out, concat_shifted(maps.contiguous(), maps.contiguous(), [(0, 1)]))


def test_parameters_of_a_layer():
    """Half of a convolution's, and nine for the direction."""
    dense, ghost = nn.Conv2d(64, 64, 3), GhostConv2d(64, 64, 3)
    count = [sum(p.numel() for p in m.parameters()) for m in (dense, ghost)]
    assert count[1] == count[0] // 2 + 9
    assert sum(p.numel() for p in GhostConv2d(64, 64, 3, share_direction=False).parameters()) == count[0] // 2 + 9 * 32


@pytest.mark.parametrize('options, message', [
    (dict(ratio=0), 'ratio=0'), (dict(ratio=1.5), 'ratio=1.5'), (dict(mode='soft'), 'mode='),
    (dict(max_shift=0), 'max_shift=0'), (dict(groups=4, ratio=0.25), 'groups=4'),
    (dict(direction=(2, 0)), 'direction=')])
def test_what_is_not_supported_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        GhostConv2d(8, 8, 3, **options)
