"""The budget search: floors, multiples, nesting, targets."""

from types import SimpleNamespace

import pytest
import torch

from projects.seg_pruning import Budget, Floors, search_budget
from projects.seg_pruning.budget import _ranks, keep_share
from projects.seg_pruning.errors import BudgetError

FINE = Floors(min_channels=1, min_ratio=0., round_to=1)


@pytest.fixture
def graph():
    """Two backbone groups and one of the head, of 64, 32 and 20 channels."""
    widths = {'backbone.a': 64, 'backbone.b': 32, 'decode_head.c': 20}
    return SimpleNamespace(groups={
        name: SimpleNamespace(channels=width, part='backbone' if 'backbone' in name else 'head')
        for name, width in widths.items()})


@pytest.fixture
def importance(graph):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(group.channels, generator=generator) for name, group in graph.groups.items()}


def widths(masks):
    return [int(mask.sum()) for mask in masks.values()]


def cost(masks):
    """Share of channels: 116 in all."""
    return sum(widths(masks)) / 116


@pytest.mark.parametrize('wanted, channels, expected', [
    (0, 64, 8), (9, 64, 16), (16, 64, 16), (0, 512, 56), (51, 512, 56), (60, 61, 61), (0, 4, 4), (3, 20, 8)])
def test_floors(wanted, channels, expected):
    """max(8, 10 %), upwards to a multiple of 8, at most what there is."""
    assert Floors().width(wanted, channels) == expected


def test_global_search_keeps_the_most_important_of_all(graph, importance):
    masks = search_budget(graph, importance, 0.5, cost, floors=FINE)
    kept = torch.cat([importance[name][mask] for name, mask in masks.items()])
    gone = torch.cat([importance[name][~mask] for name, mask in masks.items()])
    assert len(kept) == 58 and kept.min() > gone.max()


def test_uniform_ratio_and_parts(graph, importance):
    assert widths(search_budget(graph, importance, 0.5, cost, scope='layer', floors=FINE)) == [32, 16, 10]
    unequal = {name: value + 10 * (name == 'decode_head.c') for name, value in importance.items()}
    parts = widths(search_budget(graph, unequal, 0.5, cost, scope='part', floors=FINE))
    assert sum(parts[:2]) == 48 and parts[2] == 10
    assert widths(search_budget(graph, unequal, 0.5, cost, scope='global', floors=FINE))[2] == 20


def test_fewer_kept_are_among_more_kept(graph, importance):
    ranks = _ranks(importance, graph, 'global')
    former = None
    for removed in (0.1, 0.3, 0.6, 0.9):
        masks = keep_share(graph, ranks, importance, removed, Floors())
        assert all(width % 8 == 0 or width == group.channels
                   for width, group in zip(widths(masks), graph.groups.values(), strict=True))
        assert former is None or all(bool((former[name] | ~masks[name]).all()) for name in masks)
        former = masks


def test_no_more_is_removed_than_needed(graph, importance):
    """One channel more would exceed the target."""
    for target in (0.31, 0.5, 0.77):
        masks = search_budget(graph, importance, target, cost, floors=FINE)
        assert sum(widths(masks)) == int(target * 116)


def test_ties_are_cut_to_the_width(graph):
    equal = {name: torch.ones(group.channels) for name, group in graph.groups.items()}
    assert widths(search_budget(graph, equal, 0.5, cost, scope='layer', floors=FINE)) == [32, 16, 10]


def test_targets_out_of_reach(graph, importance):
    with pytest.raises(BudgetError, match=r'target 0\.1 is below the floor: .*max\(8, 10%\), a multiple of 8\) 0\.207 '
                                          'of the cost is left'):
        search_budget(graph, importance, 0.1, cost)
    for wrong in (0, 1, 50, -0.5):
        with pytest.raises(BudgetError, match=f'target={wrong}: expected the share'):
            Budget(wrong)
    with pytest.raises(BudgetError, match="metric='flops': expected one of macs, params, latency"):
        Budget(0.5, 'flops')
    with pytest.raises(BudgetError, match="scope='stage': expected one of global, part, layer"):
        search_budget(graph, importance, 0.5, cost, scope='stage')
