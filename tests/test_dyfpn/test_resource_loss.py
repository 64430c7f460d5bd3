"""The resource loss: the numbers of the authors' constants, and its gradient."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F

from projects.dyfpn import RELEASED_COSTS, DyFPN, ResourceLoss

R50 = [256, 512, 1024, 2048]
TERMS = {0.1: 0.401029, 0.2: 0.284375, 0.3: 0.187721, 0.5: 0.054414}
"""Term of an image with C2, C4 and C5 open and C3 closed, F = 1128.5, by alpha."""


def gates(*rows, choices=2):
    return [F.one_hot(torch.tensor(level), choices).float() for level in zip(*rows, strict=True)]


def meta_neck(**kwargs):
    with torch.device('meta'):
        return DyFPN(R50, 256, 5, **kwargs)


@pytest.mark.parametrize('alpha, term', TERMS.items())
def test_terms_with_the_released_costs(alpha, term):
    """Over two images the mean times two is the authors' sum."""
    loss = ResourceLoss(RELEASED_COSTS['B'], alpha)
    assert loss(gates([1, 0, 1, 1])).item() / 2 == pytest.approx(term, abs=5e-7)
    two = loss(gates([1, 0, 1, 1], [0, 0, 0, 0])).item()
    assert two == pytest.approx(term + alpha**2, abs=1e-6)


@pytest.mark.parametrize('structure, low, high, targets', [
    ('A', 15, 373.5, {0.5: 194.25, 0.1: 50.85}), ('B', 0, 1539, {0.1: 153.9, 0.2: 307.8, 0.3: 461.7, 0.5: 769.5})])
def test_limits_and_targets_of_the_released_costs(structure, low, high, targets):
    costs = torch.tensor(RELEASED_COSTS[structure])
    assert costs.min(1).values.sum().item() == pytest.approx(low)
    assert costs.max(1).values.sum().item() == pytest.approx(high, rel=1e-6)
    for alpha, target in targets.items():
        assert low + alpha * (high - low) == pytest.approx(target)


@pytest.mark.parametrize('structure', 'AB')
def test_derived_costs_are_the_released_ones_but_for_their_rounding(structure):
    """Up to scale: 2 x multiply-adds at 1216x800."""
    neck = meta_neck(structure=structure)
    derived = torch.tensor(neck.choice_costs(neck.level_sizes(800, 1216)), dtype=torch.float64) * 2 / 1e9
    released = torch.tensor(RELEASED_COSTS[structure], dtype=torch.float64)
    torch.testing.assert_close(derived, released, rtol=5e-3, atol=0.06)


@pytest.mark.parametrize('alpha, term', TERMS.items())
def test_terms_with_derived_costs(alpha, term):
    neck = DyFPN([4, 8, 16, 32], 8, 5, loss_flops=dict(alpha=alpha, loss_weight=3.0))
    assert neck.loss_flops(gates([1, 0, 1, 1])).item() / 6 == pytest.approx(term, abs=2e-4)


def test_every_choice_at_its_limit_costs_zero_or_one():
    for structure, choices in (('A', 7), ('B', 2)):
        loss = ResourceLoss(RELEASED_COSTS[structure])
        assert loss.open_share(gates([0] * 4, [choices - 1] * 4, choices=choices)).tolist() == pytest.approx([0, 1])


@pytest.mark.parametrize('structure', 'AB')
def test_gradient_reaches_the_logits(structure):
    """Too dear: every level's dear choice loses probability. The loss is fetched once."""
    torch.manual_seed(0)
    neck = DyFPN([4, 8, 16, 32], 8, 5, structure=structure, loss_flops=dict(alpha=0.0)).train()
    neck([torch.randn(64, c, 4, 4) for c in (4, 8, 16, 32)])
    neck.pop_loss().backward()
    assert neck.pop_loss() is None
    for level in neck.gates.levels:
        assert level[2].bias.grad[-1] > 0 and level[2].bias.grad[0] < 0
    assert all(p.grad is None for p in neck.lateral_convs.parameters())


def test_no_loss_in_evaluation_or_without_one():
    maps = [torch.randn(1, c, 4, 4) for c in (4, 8, 16, 32)]
    neck = DyFPN([4, 8, 16, 32], 8, 5).eval()
    neck(maps)
    assert neck.pop_loss() is None
    neck = DyFPN([4, 8, 16, 32], 8, 5, loss_flops=None).train()
    neck(maps)
    assert neck.pop_loss() is None


@pytest.mark.parametrize('structure, choices', [('A', 7), ('B', 2)])
def test_expected_term_is_the_mean_over_all_draws(structure, choices):
    """Each draw's term, weighted with its probability; decided gates have the straight-through loss."""
    loss = ResourceLoss([level[:3] for level in RELEASED_COSTS[structure][:3]], 0.3, estimator='expected')
    choices = min(choices, 3)
    generator = torch.Generator().manual_seed(0)
    probabilities = [torch.randn(4, choices, generator=generator).softmax(1) for _ in range(3)]
    expected = torch.zeros(4)
    for draw in product(range(choices), repeat=3):
        weight = torch.stack([level[:, k] for level, k in zip(probabilities, draw, strict=True)]).prod(0)
        cost = sum(loss.shares[level][k] for level, k in enumerate(draw))
        expected += weight * (cost - 0.3) ** 2
    torch.testing.assert_close(loss.expected_term(probabilities), expected)
    torch.testing.assert_close(loss(None, probabilities), 2 * expected.mean())
    decided = gates([1, 0, 1], choices=choices)
    official = ResourceLoss([level[:3] for level in RELEASED_COSTS[structure][:3]], 0.3)
    torch.testing.assert_close(loss(None, decided), official(decided))


def test_expected_loss_makes_gates_decide():
    """Three levels that cost 4:2:1, target 0.3, all gates half open at first: the middle one alone (2/7) is nearest.

    Straight-through ends with the mean at the target and an undecided gate.
    """
    ends = {}
    for estimator in ('expected', 'straight_through'):
        torch.manual_seed(0)
        loss = ResourceLoss([[0., 4.], [0., 2.], [0., 1.]], 0.3, estimator=estimator)
        logits = [torch.zeros(1, 2, requires_grad=True) for _ in range(3)]
        optimizer = torch.optim.Adam(logits, lr=0.05)
        for _ in range(400):
            rows = [x.expand(32, -1) for x in logits]
            value = loss([F.gumbel_softmax(x, hard=True) for x in rows], [x.softmax(1) for x in rows])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        ends[estimator] = torch.cat([x.detach().softmax(1)[:, 1] for x in logits])
    assert ends['expected'].tolist() == pytest.approx([0, 1, 0], abs=0.02)
    official = ends['straight_through']
    assert (official * official.new_tensor([4, 2, 1])).sum() / 7 == pytest.approx(0.3, abs=0.05)
    assert ((official > 0.1) & (official < 0.9)).any()


def test_estimator_of_the_neck():
    """The neck hands the probabilities of its draws over; an unknown estimator is refused."""
    torch.manual_seed(0)
    neck = DyFPN([4, 8, 16, 32], 8, 5, loss_flops=dict(alpha=0.0, estimator='expected')).train()
    maps = [torch.randn(8, c, 4, 4) for c in (4, 8, 16, 32)]
    neck(maps)
    probabilities = [x.softmax(1) for x in neck.gates(maps)]
    torch.testing.assert_close(neck.pop_loss(), 2 * neck.loss_flops.expected_term(probabilities).mean())
    with pytest.raises(ValueError, match="estimator='gumbel', expected one of"):
        DyFPN([4, 8], 8, 2, loss_flops=dict(estimator='gumbel'))
