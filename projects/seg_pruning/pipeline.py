"""From importance to files: budget search, removal, and what a pruned model consists of on disk.

In the output folder: `NAME.json` (structure), `NAME.pth` (weights), and `NAME_report.json`, `.md` and `.png`.
"""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from projects.runtime.atomic import atomic_file

from .budget import Floors, Masks, check_target, search_budget
from .channel_graph import ChannelGraph
from .costs import Cost, CostModel, Timing, latency_in_turns
from .errors import BudgetError
from .importance import Importance
from .removal import remove_channels
from .report import write_report
from .structure import PrunedStructure, all_widths, resize

METRICS = ('macs', 'params', 'latency')


@dataclass(frozen=True)
class Budget:
    """What to prune to.

    Attributes:
        target: share of the dense cost that may be left.
        metric: 'macs' (multiply-adds), 'params' or 'latency' (measured on this machine, one image).
        scope: 'global', 'part' or 'layer', see `budget`.
        floors: least widths.
        repeats: measurements that a latency is the median of.
    """

    target: float = 0.5
    metric: str = 'macs'
    scope: str = 'global'
    floors: Floors = field(default_factory=Floors)
    repeats: int = 3

    def __post_init__(self) -> None:
        check_target(self.target)
        if self.metric not in METRICS:
            raise BudgetError(f'metric={self.metric!r}: expected one of {", ".join(METRICS)}')


@dataclass
class PruneResult:
    """A pruned network with its history.

    Attributes:
        dense, network: before and after; the weights are those that the pruner was given.
        graph: groups of the dense network.
        masks: kept channels.
        structure: what the structure file holds.
        before, after: costs for one image.
        latency: {'dense': times, 'pruned': times}, empty if not measured.
    """

    dense: nn.Module
    network: nn.Module
    graph: ChannelGraph
    masks: Masks
    structure: PrunedStructure
    before: Cost
    after: Cost
    latency: dict[str, Timing] = field(default_factory=dict)


def _relative_cost(model: nn.Module, graph: ChannelGraph, costs: CostModel, budget: Budget) -> Callable[[Masks], float]:
    dense = costs.dense()
    if budget.metric != 'latency':
        return lambda masks: getattr(costs.of(graph, masks), budget.metric) / getattr(dense, budget.metric)

    def measured(masks: Masks) -> float:
        network = narrowed(model, graph, masks)
        times = latency_in_turns(dict(dense=model, pruned=network), graph.size, budget.repeats)
        return times['pruned'].latency / times['dense'].latency

    return measured


def narrowed(model: nn.Module, graph: ChannelGraph, masks: Masks) -> nn.Module:
    """A copy of `model` with the widths of `masks`, whatever its weights: for measuring."""
    removed, network = graph.widths(masks), copy.deepcopy(model)
    widths = all_widths(network)
    for name in {layer for layer, _ in removed}:
        ins, outs = widths[name]
        fewer = removed.get((name, 'out'), 0)
        layer = network.get_submodule(name)
        resize(layer, ins - removed.get((name, 'in'), 0), outs - fewer)
    return network


def prune_to_budget(model: nn.Module, graph: ChannelGraph, importance: Importance, budget: Budget, *,
                    info: dict[str, Any] | None = None, benchmark: bool = False) -> PruneResult:
    """Remove the least important channels of `model` until it meets the budget.

    Args:
        model: the dense segmentor, without gates; left as it is.
        graph: its groups.
        importance: (C,) for each group.
        budget: what to prune to.
        info: notes for the structure file.
        benchmark: also measure the latency of both networks, in turns.

    Raises:
        BudgetError: the target cannot be met.
        TraceError: the pruned network computes something else, see `remove_channels`.
    """
    costs = CostModel(model, graph.size)
    masks = search_budget(graph, importance, budget.target, _relative_cost(model, graph, costs, budget),
                          scope=budget.scope, floors=budget.floors)
    before, after = costs.dense(), costs.of(graph, masks)
    notes = dict(info or {}, budget=asdict(budget), size=list(graph.size), prune_residual=graph.prune_residual,
                 dense=asdict(before), pruned=asdict(after))
    network, structure = remove_channels(model, graph, masks, notes)
    latency = {}
    if benchmark or budget.metric == 'latency':
        latency = latency_in_turns(dict(dense=model, pruned=network), graph.size, budget.repeats)
        structure.info['time_ms'] = {name: times._asdict() for name, times in latency.items()}
    return PruneResult(model, network, graph, masks, structure, before, after, latency)


def save_result(result: PruneResult, folder: str | Path, name: str = 'pruned',
                meta: dict[str, Any] | None = None) -> dict[str, Path]:
    """Write structure, checkpoint and report.

    Returns:
        {'structure' | 'checkpoint' | 'report': path}.
    """
    folder = Path(folder)
    paths = dict(structure=folder / f'{name}.json', checkpoint=folder / f'{name}.pth',
                 report=folder / f'{name}_report.md')
    with atomic_file(paths['checkpoint']) as file:
        torch.save(dict(meta=dict(meta or {}), state_dict=result.network.state_dict()), file)
    write_report(result, folder / f'{name}_report')
    result.structure.save(paths['structure'])  # last: where it is, the rest is
    return paths
