"""sgn(y) |y|^alpha: its values, its derivatives also at zero, and what the exponent may do."""

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.graph import saved_tensors_hooks

from projects.adder_sr import PowerActivation, power_activation

VALUES = [-30., -2., -0.5, -1e-2, 0., 1e-2, 0.3, 1., 25.]


def exponent(value):
    return torch.tensor([float(value)], dtype=torch.double, requires_grad=True)


@pytest.mark.parametrize('alpha', [0.5, 1., 1.3, 2.])
def test_values(alpha):
    expected = torch.tensor([abs(v) ** alpha * (-1 if v < 0 else 1) for v in VALUES])
    torch.testing.assert_close(power_activation(torch.tensor(VALUES), torch.tensor([alpha])), expected)


def test_begins_as_the_identity():
    """To the bit, also for values far below eps; and the exponent gets a gradient nevertheless."""
    x = torch.randn(2, 3, 4, 5) ** 7
    layer = PowerActivation()
    out = layer(x)
    assert torch.equal(out, x)
    out.sum().backward()
    torch.testing.assert_close(layer.alpha.grad, (x * x.abs().clamp_min(1e-6).log()).sum()[None])


@pytest.mark.parametrize('alpha', [0.2, 0.5, 1., 2., 2.7])
def test_gradients_at_negative_values_and_zero(alpha):
    x = torch.tensor(VALUES, dtype=torch.double, requires_grad=True)

    def function(x, alpha):
        return power_activation(x, alpha, eps=1e-4)

    assert gradcheck(function, (x, exponent(alpha)), eps=1e-7, atol=1e-5, rtol=1e-4)
    inner = x.detach().clone()
    inner[x == 0] = 0.7  # the second derivative jumps between the line and the power
    assert gradgradcheck(function, (inner.requires_grad_(), exponent(alpha)))


@pytest.mark.parametrize('alpha', [0.2, 0.5, 1., 2.])
def test_zeros_have_finite_gradients(alpha):
    """The plain formula gives inf and NaN here. Behind a ReLU half of the values are zero."""
    x = torch.tensor([-1., 0., 0., 2.], requires_grad=True)
    layer = PowerActivation(init=alpha)
    out = layer(torch.relu(x).reshape(1, 1, 2, 2))
    out.sum().backward()
    assert torch.equal(out.flatten() == 0, torch.tensor([True, True, True, False]))
    torch.testing.assert_close(x.grad, torch.tensor([0., 0., 0., alpha * 2 ** (alpha - 1)]))
    torch.testing.assert_close(layer.alpha.grad, torch.tensor([2.]) ** alpha * 0.6931472)
    straight = torch.zeros(1, requires_grad=True)
    power_activation(straight, torch.tensor([alpha])).backward()
    assert straight.grad.item() == pytest.approx(1e-6 ** (alpha - 1), rel=1e-4)  # slope of the line through +-eps


def test_line_meets_the_power_at_eps():
    eps, alpha = 1e-2, torch.tensor([0.5])
    below, above = power_activation(torch.tensor([eps * (1 - 1e-6), eps * (1 + 1e-6)]), alpha, eps=eps)
    assert below.item() == pytest.approx(0.1, rel=1e-5) and above.item() == pytest.approx(0.1, rel=1e-5)
    assert power_activation(torch.tensor([eps / 2]), alpha, eps=eps).item() == pytest.approx(0.05)


def test_one_exponent_per_channel():
    layer = PowerActivation(channels=3, per_channel=True)
    with torch.no_grad():
        layer.alpha.copy_(torch.tensor([1., 2., 0.5]))
    out = layer(torch.full((2, 3, 1, 1), -4.))
    torch.testing.assert_close(out[1, :, 0, 0], torch.tensor([-4., -16., -2.]))
    out[:, 1].sum().backward()
    assert [bool(g) for g in layer.alpha.grad] == [False, True, False]


@pytest.mark.parametrize('start, limit, target', [(0.1, 0.1, 0.0), (3., 3., 100.)])
def test_exponent_stops_at_its_limit_and_can_leave_it(start, limit, target):
    """A gradient that leads outwards is zero there; one that leads back is not, even from outside."""
    x = torch.full((1, 1, 1, 1), 2.)
    layer = PowerActivation(init=start)
    (layer(x) - target).abs().sum().backward()
    assert layer.alpha.grad.item() == 0
    with torch.no_grad():
        layer.alpha.add_((start - 1) * 0.01)  # momentum may carry it out
    out = layer(x)
    assert out.item() == pytest.approx(2 ** limit)
    layer.alpha.grad = None
    (out - 2.).abs().sum().backward()  # alpha = 1 would be right
    assert layer.alpha.grad.item() * (start - 1) > 0  # descent goes towards 1


def test_half_precision_is_computed_in_single():
    x = torch.tensor([-300., 0., 1e-4, 2.], dtype=torch.float16, requires_grad=True)
    alpha = torch.tensor([0.3], requires_grad=True)
    out = power_activation(x, alpha)
    assert out.dtype == torch.float16
    torch.testing.assert_close(out, power_activation(x.float(), alpha).half())
    (out * 2).sum().backward()
    assert torch.isfinite(alpha.grad) and not x.grad.isnan().any()


def test_backward_keeps_only_the_input():
    """As many values as the ReLU's output, which is in memory anyway; a large EDSR has 65 of these."""
    kept = []
    x = torch.randn(1, 4, 16, 16, requires_grad=True)
    with saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        PowerActivation()(x)
    assert [n for n in kept if n > 1] == [x.numel()]


@pytest.mark.parametrize('arguments', [
    dict(limits=(0., 3.)), dict(init=4.), dict(limits=(2., 1.)), dict(eps=0.), dict(per_channel=True)])
def test_refused_arguments(arguments):
    with pytest.raises(ValueError, match='PowerActivation: '):
        PowerActivation(**arguments)


def test_a_power_learns_contrast():
    """The exponent finds the power by which a target was made."""
    torch.manual_seed(0)
    x = torch.rand(4, 1, 8, 8) * 2
    layer = PowerActivation()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.mse_loss(layer(x), x ** 1.6).backward()
        optimizer.step()
    assert layer.alpha.item() == pytest.approx(1.6, abs=0.02)
