"""Importance of every channel, by which all pruners of the suite rank: the method's and the baselines'.

| method | importance of channel c of a group | across layers |
| --- | --- | --- |
| `scores` | abs(s_c) after the search, from both tasks (`MultiTaskPruning`) | as it is |
| `taylor` | mean over batches of abs(s dL/ds) at s = 1, tasks added | divided by its layer's mean, per task |
| `bn_scale` | abs(gamma_c) (network slimming, arXiv 1708.06519) | as it is |
| `l1` | mean abs weight of its filters (arXiv 1608.08710) | divided by its layer's mean |
| `uniform` | like `l1`, but every layer keeps the same share | by rank in its layer |
| `random` | uniform noise | as it is |

A group whose channels several layers compute (a residual stream) takes the mean of its members.
"""

from collections.abc import Iterable

import torch
from torch import nn

from projects.runtime.errors import ConfigError

from .channel_graph import ChannelGraph, Coupling, is_depthwise

WEIGHT_METHODS = ('bn_scale', 'l1', 'uniform', 'random')
METHODS = ('scores', 'taylor', *WEIGHT_METHODS)
_NORM = nn.modules.batchnorm._BatchNorm
Importance = dict[str, torch.Tensor]


def _member_mean(members: list[tuple[torch.Tensor, Coupling]], channels: int) -> torch.Tensor:
    """Mean of members' values for each of a group's channels, (channels,); a member may have some of them only."""
    total, count = torch.zeros(channels), torch.zeros(channels)
    for values, coupling in members:
        root = list(coupling.root)
        total[root] += values.detach().float().cpu()[list(coupling.local)]
        count[root] += 1
    return total / count.clamp_min(1)


def _filter_norms(model: nn.Module, graph: ChannelGraph, name: str) -> torch.Tensor:
    group, found = graph.groups[name], []
    for coupling in group.couplings:
        layer = model.get_submodule(coupling.layer)
        if coupling.layer in group.producers and coupling.side == 'out' and not is_depthwise(layer):
            weight = layer.weight
            if isinstance(layer, nn.modules.conv._ConvTransposeNd):
                weight = weight.transpose(0, 1)
            norms = weight.detach().abs().flatten(1).mean(1)
            found.append((norms, coupling))
    return _member_mean(found, group.channels)


def _norm_scales(model: nn.Module, graph: ChannelGraph, name: str) -> torch.Tensor:
    group, found = graph.groups[name], []
    for site in group.sites:
        layer = model.get_submodule(site.layer)
        if not isinstance(layer, _NORM) or layer.weight is None:
            raise ConfigError(f'method bn_scale: {site.layer} has no batch norm with a scale behind it. Expected one '
                              'behind every pruned layer; choose another method, for example l1')
        found.append((layer.weight.abs(), site))
    return _member_mean(found, group.channels)


def divided_by_mean(values: Importance) -> Importance:
    """Every group's importance over its own mean."""
    return {name: value / value.mean().clamp_min(1e-20) for name, value in values.items()}


def weight_importance(method: str, model: nn.Module, graph: ChannelGraph, seed: int = 0) -> Importance:
    """Importance from a network's weights alone.

    Args:
        method: one of `WEIGHT_METHODS`.
        model: the dense segmentor.
        graph: its groups.
        seed: of the method 'random'.

    Raises:
        ConfigError: no such method, or `bn_scale` without batch norms.
    """
    if method == 'random':
        generator = torch.Generator().manual_seed(seed)
        return {name: torch.rand(group.channels, generator=generator) for name, group in graph.groups.items()}
    if method == 'bn_scale':
        return {name: _norm_scales(model, graph, name) for name in graph.groups}
    if method in ('l1', 'uniform'):
        return divided_by_mean({name: _filter_norms(model, graph, name) for name in graph.groups})
    raise ConfigError(f'method={method!r}: expected one of {", ".join(WEIGHT_METHODS)}')


def task_sum(by_task: dict[str, Importance], weights: dict[str, float]) -> Importance:
    """Importance of tasks, each divided by its layers' means, added with weights.

    A task that does not see a group (the classification task sees no head) adds nothing there.
    """
    total: Importance = {}
    for task, values in by_task.items():
        for name, value in divided_by_mean(values).items():
            total[name] = total.get(name, torch.zeros_like(value)) + weights[task] * value
    return total


def fill_unseen(values: Importance, model: nn.Module, graph: ChannelGraph) -> Importance:
    """Give groups that no task has seen the L1 importance, scaled to the mean of those that were seen.

    Only pruning by the classification task alone needs it: the head does not exist there.
    """
    missing = [name for name in graph.groups if name not in values]
    if not missing:
        return values
    level = torch.cat(list(values.values())).mean().item() if values else 1.0
    device = next(iter(values.values())).device if values else 'cpu'
    norms = {name: value.to(device) for name, value in weight_importance('l1', model, graph).items()}
    return {name: values[name] if name in values else norms[name] * level for name in graph.groups}


def taylor_importance(search, batches: Iterable[dict]) -> Importance:
    """First-order Taylor importance from both tasks at scores of 1, without any training of scores.

    Args:
        search: a `MultiTaskPruning`, whose task weights count; set to evaluation mode (batch norms use their
            statistics) and left so.
        batches: dicts with the keys 'seg' and, if the classification task counts, 'cls'.
    """
    search.eval()
    sums: dict[str, Importance] = {}
    for batch in batches:
        for task, gradients in search.score_gradients(search.prepare(batch)).items():
            found = sums.setdefault(task, {})
            for name, gradient in gradients.items():
                found[name] = found.get(name, 0) + (search.scores[name].detach() * gradient).abs().cpu()
    return fill_unseen(task_sum(sums, search.task_weights), search.architecture, search.graph)
