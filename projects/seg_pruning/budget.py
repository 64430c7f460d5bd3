"""How many channels go, so that a network costs what was asked for: one search for every kind of importance.

Channels are removed in the order of their importance, over the whole network (`global`), over backbone and head apart
(`part`: the same share of either) or over each layer apart (`layer`: the uniform ratio). A layer never falls below its
floor, and its width is rounded up to a multiple. The number of removed channels is found by bisection: fewest removed
that meet the target. What is kept with less removed contains what is kept with more.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from .channel_graph import ChannelGraph
from .errors import BudgetError

SCOPES = ('global', 'part', 'layer')
Masks = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Floors:
    """Least width of a layer: `min_channels`, or `min_ratio` of its channels, whichever is more, rounded up to a
    multiple of `round_to` (inferred: max(8, 10 %) and 8), and never more than it has."""

    min_channels: int = 8
    min_ratio: float = 0.1
    round_to: int = 8

    def width(self, wanted: int, channels: int) -> int:
        """The allowed width next to `wanted`, upwards, of a layer with `channels`."""
        least = max(wanted, self.min_channels, round(self.min_ratio * channels))
        return min(channels, -(-least // self.round_to) * self.round_to)


def _ranks(importance: Masks, graph: ChannelGraph, scope: str) -> Masks:
    """For each channel, the share of its scope's channels that are less important, 0 to 1."""
    if scope not in SCOPES:
        raise BudgetError(f'scope={scope!r}: expected one of {", ".join(SCOPES)}')
    rooms: dict[str, list[str]] = {}
    for name, group in graph.groups.items():
        rooms.setdefault(dict(zip(SCOPES, ('all', group.part, name), strict=True))[scope], []).append(name)
    ranks: Masks = {}
    for names in rooms.values():
        values = torch.cat([importance[name].float().cpu() for name in names])
        order = torch.empty(len(values))
        order[values.argsort(stable=True)] = torch.arange(len(values), dtype=torch.float) / len(values)
        ranks.update(zip(names, order.split([len(importance[name]) for name in names]), strict=True))
    return ranks


def keep_share(graph: ChannelGraph, ranks: Masks, importance: Masks, removed: float, floors: Floors) -> Masks:
    """Kept channels of each group when the share `removed` goes; ties go to the channel that comes first."""
    masks = {}
    for name, group in graph.groups.items():
        width = floors.width(int((ranks[name] >= removed).sum()), group.channels)
        best = importance[name].float().cpu().argsort(descending=True, stable=True)[:width]
        masks[name] = torch.zeros(group.channels, dtype=torch.bool)
        masks[name][best] = True
    return masks


def check_target(target: float) -> None:
    """Raise `BudgetError` unless 0 < target < 1."""
    if not 0 < target < 1:
        raise BudgetError(f'target={target}: expected the share of the dense cost that is left, between 0 and 1, for '
                          'example 0.5')


def search_budget(graph: ChannelGraph, importance: Masks, target: float, cost: Callable[[Masks], float], *,
                  scope: str = 'global', floors: Floors | None = None) -> Masks:
    """Kept channels, as masks by group, whose cost is at most `target`.

    Args:
        graph: the groups.
        importance: (C,) for each group.
        target: share of the dense cost that may be left, between 0 and 1.
        cost: share of the dense cost for given masks.
        scope: see the module.
        floors: least widths.

    Raises:
        BudgetError: the target is out of range, or not even reached with every layer at its floor.
    """
    check_target(target)
    floors = floors or Floors()
    ranks = _ranks(importance, graph, scope)
    steps = max(sum(group.channels for group in graph.groups.values()), 2)

    def masks(step: int) -> Masks:
        return keep_share(graph, ranks, importance, step / steps, floors)

    least = cost(masks(steps))
    if least > target:
        raise BudgetError(
            f'target {target:g} is below the floor: with every layer at its least width (max({floors.min_channels}, '
            f'{floors.min_ratio:.0%}), a multiple of {floors.round_to}) {least:.3f} of the cost is left. Raise the '
            'target, lower the floors (min_channels, min_ratio, round_to), or allow more layers '
            '(prune_residual=True, a shorter list keep)')
    low, high = 0, steps  # cost(low) > target >= cost(high); nothing removed costs 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if cost(masks(middle)) <= target else (middle, high)
    return masks(high)
