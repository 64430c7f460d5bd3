"""The optimiser side: one normalisation per step, and clipping without the adder filters."""

import pytest
import torch
from mmengine.optim import AmpOptimWrapper, build_optim_wrapper
from torch import nn

from projects.adder import Adder2d

ETA = 0.2


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), Adder2d(4, 4, 3, bias=True), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def build(model, mode=None, **options):
    paramwise = {} if mode is None else dict(adder_adaptive_lr=mode)
    return build_optim_wrapper(model, dict(
        constructor='AdderOptimWrapperConstructor', optimizer=dict(type='SGD', lr=1.), paramwise_cfg=paramwise,
        **options))


def loss_of(model, x):
    return model(x).square().mean()


def step_of(wrapper, model, x):
    """Change of the adder filters by one update."""
    before = model[1].weight.detach().clone()
    wrapper.update_params(loss_of(model, x))
    return before - model[1].weight.detach()


FULL = ETA * (4 * 4 * 9)**0.5


@pytest.mark.parametrize('mode', ['backward', 'optimizer'])
def test_one_call_gives_the_same_step_on_either_side(mode):
    model, x = net(), torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    step = step_of(build(model, mode), model, x)
    reference = net()
    loss_of(reference, x).backward()
    torch.testing.assert_close(step, reference[1].weight.grad)
    assert step.norm().item() == pytest.approx(FULL, rel=1e-4)


def test_accumulation_is_normalised_once():
    model = net()
    wrapper = build(model, accumulative_counts=4)
    assert model[1].adaptive_lr == 'optimizer'  # chosen by 'auto'
    steps = [step_of(wrapper, model, torch.randn(2, 3, 8, 8)) for _ in range(4)]
    assert [bool(step.any()) for step in steps] == [False, False, False, True]
    assert steps[-1].norm().item() == pytest.approx(FULL, rel=1e-4)


def test_loss_scale_does_not_reach_the_step():
    """What a gradient scaler does: scale the loss, divide all gradients before the step."""
    steps = []
    for scale in (1., 2.**16):
        model, x = net(), torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        wrapper = build(model, 'optimizer')
        before = model[1].weight.detach().clone()
        (loss_of(model, x) * scale).backward()
        for parameter in model.parameters():
            parameter.grad /= scale
        wrapper.step()
        steps.append(before - model[1].weight.detach())
    torch.testing.assert_close(*steps)
    assert steps[0].norm().item() == pytest.approx(FULL, rel=1e-4)


def test_real_grad_scaler_on_the_cpu():
    model, x = net(), torch.randn(2, 3, 8, 8)
    wrapper = build(model, 'optimizer')
    scaler = torch.amp.GradScaler('cpu', init_scale=2.**12)
    before = model[1].weight.detach().clone()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = loss_of(model, x)
    scaler.scale(loss).backward()
    scaler.step(wrapper.optimizer)
    assert (before - model[1].weight.detach()).norm().item() == pytest.approx(FULL, rel=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='AmpOptimWrapper needs a GPU')
def test_amp_wrapper_goes_to_the_optimiser_side():
    model = net().cuda()
    assert isinstance(build(model, type='AmpOptimWrapper'), AmpOptimWrapper)
    assert model[1].adaptive_lr == 'optimizer'


@pytest.mark.parametrize('mode', ['backward', 'optimizer'])
def test_clipping_leaves_adder_filters_out(mode):
    model, x = net(), torch.randn(2, 3, 8, 8)
    wrapper = build(model, mode, clip_grad=dict(max_norm=1e-3))
    before = [p.detach().clone() for p in model.parameters()]
    wrapper.update_params(loss_of(model, x))
    change = {n: (a - p.detach()) for a, (n, p) in zip(before, model.named_parameters(), strict=True)}
    assert change.pop('1.weight').norm().item() == pytest.approx(FULL, rel=1e-4)
    assert torch.cat([c.flatten() for c in change.values()]).norm().item() == pytest.approx(1e-3, rel=1e-2)


def test_plain_constructor_would_shrink_everything():
    """The trap that the constructor is for: the filters' norm dominates the global one."""
    model = net()
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=1.), clip_grad=dict(max_norm=1e-3)))
    assert step_of(wrapper, model, torch.randn(2, 3, 8, 8)).norm() < 1.1e-3 < FULL


def test_layers_without_a_factor_stay_raw():
    model, x = net(), torch.randn(2, 3, 8, 8)
    model[1].adaptive_lr = None
    step = step_of(build(model, 'optimizer'), model, x)
    assert abs(step.norm().item() - FULL) > 1e-2


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="adder_adaptive_lr='sometimes'"):
        build(net(), 'sometimes')
