"""Taking channels out of a network, through Torch-Pruning's dependency graph, and proof that nothing else changed."""

import copy
from typing import Any

import torch
from torch import nn

from .channel_graph import ChannelGraph, build_dependency_graph, evaluation, example, outputs, torch_pruning
from .errors import TraceError
from .scores import fold, remove_gates
from .structure import PrunedStructure, all_widths

TOLERANCE = 1e-3


def masked(model: nn.Module, graph: ChannelGraph, masks: dict[str, torch.Tensor]) -> nn.Module:
    """A copy of `model` with the channels outside `masks` set to zero behind their batch norms."""
    network = copy.deepcopy(model)
    remove_gates(network)
    fold(network, graph, {name: mask.float() for name, mask in masks.items()})
    return network


def largest_difference(first: nn.Module, second: nn.Module, size: tuple[int, int]) -> float:
    """Of the logits of two networks for a random image, relative to the largest logit."""
    with evaluation(first), evaluation(second), torch.no_grad():
        image = example(first, size)
        pairs = list(zip(outputs(first, image), outputs(second, image), strict=True))
    scale = max(float(expected.abs().max()) for expected, _ in pairs)
    return max(float((expected - found).abs().max()) for expected, found in pairs) / max(scale, 1e-12)


def remove_channels(model: nn.Module, graph: ChannelGraph, masks: dict[str, torch.Tensor],
                    info: dict[str, Any] | None = None) -> tuple[nn.Module, PrunedStructure]:
    """A pruned copy of `model`, and its structure.

    Args:
        model: the dense segmentor; left as it is.
        graph: its groups.
        masks: kept channels, (C,) bool, for each group.
        info: notes for the structure file.

    Returns:
        The copy, and what was kept.

    Raises:
        TraceError: the pruned network computes something else than the one with the channels set to zero, so that
            its graph was not understood.
    """
    dense = all_widths(model)
    network = copy.deepcopy(model)
    remove_gates(network)
    prune_out = torch_pruning().prune_conv_out_channels
    dependencies, _ = build_dependency_graph(network, graph.size)
    for name, mask in masks.items():
        gone = (~mask).nonzero().flatten().tolist()
        if gone:
            root = network.get_submodule(name)
            pruner = dependencies.get_pruner_of_module(root)
            dependencies.get_pruning_group(root, pruner.prune_out_channels if pruner else prune_out, gone).prune()
    _restore_flags(network, model)
    _check(model, network, graph, masks)
    return network, PrunedStructure.of(dense, network, graph, masks, info or {})


def _restore_flags(network: nn.Module, model: nn.Module) -> None:
    """Training modes and frozen parameters as in `model`; new parameters are trainable."""
    for (_, after), (_, before) in zip(network.named_modules(), model.named_modules(), strict=True):
        after.training = before.training
    for (_, after), (_, before) in zip(network.named_parameters(), model.named_parameters(), strict=True):
        after.requires_grad_(before.requires_grad)


def _check(model: nn.Module, network: nn.Module, graph: ChannelGraph, masks: dict[str, torch.Tensor]) -> None:
    kind = type(model).__name__
    try:
        difference = largest_difference(masked(model, graph, masks), network, graph.size)
    except RuntimeError as error:
        raise TraceError(f'{kind}: the pruned network does not run: {error}. Some layer uses its channels in a '
                         'way that the trace does not show; keep its producer by adding its name to keep') from error
    if not difference <= TOLERANCE:
        raise TraceError(f'{kind}: the pruned network differs from the one with the same channels set to zero, by '
                         f'{difference:.1e} of the largest logit (allowed: {TOLERANCE:g}). Some layer does something '
                         'else with channels than its trace shows, or answers to a zero with something else (an '
                         'activation like sigmoid); keep its producer by adding its name to keep')
