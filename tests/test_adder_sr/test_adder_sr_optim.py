"""Two parameter groups: adder filters, and everything else."""

import pytest
from mmengine.optim import build_optim_wrapper

from projects.adder import Adder2d
from projects.adder_sr import AdderEDSR, AdderVDSR


def groups(model, paramwise=None, **options):
    wrapper = build_optim_wrapper(model, dict(
        constructor='AdderSROptimWrapperConstructor', optimizer=dict(type='Adam', lr=3e-4, **options),
        paramwise_cfg=paramwise))
    return wrapper.optimizer.param_groups


def small():
    return AdderEDSR(mid_channels=8, num_blocks=2, upscale_factor=2)


@pytest.mark.parametrize('paramwise', [None, {}, dict(adder_lr_mult=10.)])
def test_the_papers_rates(paramwise):
    model = small()
    others, filters = groups(model, paramwise)
    assert others['lr'] == 3e-4 and filters['lr'] == pytest.approx(3e-3)
    adder = {id(m.weight) for m in model.modules() if isinstance(m, Adder2d)}
    assert {id(p) for p in filters['params']} == adder and len(filters['params']) == len(adder) == 5
    assert len(others['params']) + 5 == len(list(model.parameters()))


def test_exponents_have_no_weight_decay():
    model = AdderVDSR(mid_channels=8, num_layers=5)
    found = groups(model, weight_decay=1e-4)
    assert [(len(g['params']), g['weight_decay']) for g in found] == [(2 + 3 * 2, 1e-4), (3, 1e-4), (3, 0)]
    assert all(p.shape == (1,) for p in found[2]['params']) and found[2]['lr'] == 3e-4


def test_with_mmengines_own_options():
    """Custom keys come first and the factor of adder filters multiplies theirs."""
    found = groups(small(), dict(adder_lr_mult=2., custom_keys={'body.0': dict(lr_mult=0.1)}))
    assert sorted({round(g['lr'], 8) for g in found}) == [3e-5, 6e-5, 3e-4, 6e-4]


def test_where_the_adaptive_factor_is_applied_stays_an_option():
    model = small()
    groups(model, dict(adder_adaptive_lr='optimizer'))
    assert all(m.adaptive_lr == 'optimizer' for m in model.modules() if isinstance(m, Adder2d))


@pytest.mark.parametrize('value', [0, -1.])
def test_refused_factor(value):
    with pytest.raises(ValueError, match='adder_lr_mult'):
        groups(small(), dict(adder_lr_mult=value))
