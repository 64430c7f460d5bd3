"""Which channels of a segmentor depend on each other: groups that can only be pruned together.

The network is traced by Torch-Pruning's dependency graph (DepGraph, arXiv 2301.12900), which follows residual sums,
concatenations and depth-wise layers through autograd. Here its groups become plain records with the names of layers, so
that they hold for every copy of the network, and each group gets a verdict: prunable, or fixed for a stated reason.

Fixed by default (the choice is inferred, arXiv 2007.08386 does not tell): the stem, whose cost is negligible, and
residual streams, whose channels all blocks of a stage share. Always fixed: the channels that are the network's output,
the auxiliary head (its inputs follow), and whatever is coupled to something other than convolutions, linear layers,
batch norms and element-wise functions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from projects.runtime.errors import ConfigError

from .errors import TraceError

KEPT_LAYERS = ('backbone.stem', 'backbone.conv1')
TRACE_SIDE = 128
_NORM = nn.modules.batchnorm._BatchNorm
_CONV = nn.modules.conv._ConvNd
_PASSIVE = ('_ElementWiseOp', '_ConcatOp', '_SplitOp')
_NOT_PRUNED = ('auxiliary_head',)


def torch_pruning():
    """The package torch-pruning, imported when it is needed.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import torch_pruning as package
    except ImportError as error:
        raise ConfigError('Pruning needs the package torch-pruning, which is not installed. Install it with: '
                          'pip install "mmdownstream[prune]". A network that was pruned before runs without it.'
                          ) from error
    return package


@dataclass(frozen=True)
class Coupling:
    """One side of one layer that a group's channels pass through.

    Attributes:
        layer: name of the layer.
        side: 'out' (convolution: filters; batch norm: features) or 'in'.
        local: indices of the layer's channels.
        root: for each of them, the group's channel that it belongs to.
    """

    layer: str
    side: str
    local: tuple[int, ...]
    root: tuple[int, ...]


@dataclass
class ChannelGroup:
    """Channels that are pruned together; `name` is that of the first layer that computes all of them.

    Attributes:
        channels: how many.
        couplings: layers that they pass through.
        sites: layers behind which a scale of 0 removes a channel: batch norms, or convolutions without one.
        fixed: why the group is not pruned, or None.
    """

    name: str
    channels: int
    couplings: list[Coupling] = field(repr=False)
    sites: list[Coupling] = field(repr=False)
    producers: list[str] = field(repr=False)
    fixed: str | None = None

    @property
    def part(self) -> str:
        """'backbone' or 'head'."""
        return 'backbone' if self.name.startswith('backbone.') else 'head'


def outputs(model: nn.Module, images: torch.Tensor, *, auxiliary: bool = True) -> list[torch.Tensor]:
    """Logits of all heads of an mmseg encoder-decoder, at the resolution of the heads.

    Args:
        model: an `EncoderDecoder` or `CascadeEncoderDecoder` of mmseg.
        images: N x 3 x H x W, normalised.
        auxiliary: whether auxiliary heads are run.
    """
    features = model.extract_feat(images)
    if isinstance(model.decode_head, nn.ModuleList):
        found = [model.decode_head[0](features)]
        for head in model.decode_head[1:]:
            found.append(head(features, found[-1]))
        found = found[-1:]
    else:
        found = [model.decode_head(features)]
    if auxiliary and model.with_auxiliary_head:
        heads = model.auxiliary_head
        found += [head(features) for head in (heads if isinstance(heads, nn.ModuleList) else [heads])]
    return list(_tensors(found))


def _tensors(value) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


@contextmanager
def evaluation(model: nn.Module):
    """Evaluation mode without activation checkpointing, both as before afterwards."""
    training = {module: module.training for module in model.modules()}
    checkpointed = [module for module in model.modules() if getattr(module, 'with_cp', False)]
    for module in checkpointed:
        module.with_cp = False
    model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
        for module in checkpointed:
            module.with_cp = True


def example(model: nn.Module, size: tuple[int, int]) -> torch.Tensor:
    """A random image batch, 1 x 3 x H x W, with the sides capped: tracing does not depend on them."""
    parameter = next(model.parameters())
    sides = [min(side, TRACE_SIDE) for side in size]
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 3, *sides, generator=generator).to(parameter)


def build_dependency_graph(model: nn.Module, size: tuple[int, int]):
    """Torch-Pruning's graph of `model`, and the autograd nodes of its outputs.

    Raises:
        TraceError: the network does not run, or parts of it are cut off from autograd.
    """
    tp, results, executed = torch_pruning(), [], set()

    def forward(network, images):
        results.extend(outputs(network, images))
        return results

    hooks = [module.register_forward_hook(lambda module, *_: executed.add(module))
             for module in model.modules() if isinstance(module, _CONV)]
    try:
        with evaluation(model), torch.enable_grad():
            graph = tp.DependencyGraph().build_dependency(
                model, example(model, size).requires_grad_(), forward_fn=forward, verbose=False)
    except Exception as error:
        raise TraceError(f'{type(model).__name__}: its graph cannot be traced: {type(error).__name__}: {error}. '
                         'Expected an mmseg EncoderDecoder whose forward pass runs on one image under autograd '
                         f'(tried {size[0]}x{size[1]} pixels, sides capped at {TRACE_SIDE})') from error
    finally:
        for hook in hooks:
            hook.remove()
    lost = [name for name, module in model.named_modules() if module in executed and module not in graph.module2node]
    if lost:
        raise TraceError(f'{type(model).__name__}: its graph cannot be traced: autograd does not lead from the output '
                         f'to {lost[0]} and {len(lost) - 1} other layers. Is there a detach(), a no_grad() or a '
                         'conversion to numpy behind them? Expected a differentiable path')
    return graph, {result.grad_fn for result in results}


class ChannelGraph:
    """The channel groups of a segmentor.

    Args:
        model: an mmseg encoder-decoder; left as it is.
        size: height and width of the images.
        prune_residual: whether channels that several convolutions add up to are prunable, too.
        keep: beginnings of names of layers whose channels stay.

    Attributes:
        groups (dict[str, ChannelGroup]): the prunable ones by name, in the order of the network's layers.
        fixed (dict[str, ChannelGroup]): the others; `fixed` of each says why.

    Raises:
        TraceError: see `build_dependency_graph`; or nothing is prunable.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int], *, prune_residual: bool = False,
                 keep: tuple[str, ...] = KEPT_LAYERS) -> None:
        self.size, self.prune_residual, self.keep = tuple(size), prune_residual, tuple(keep)
        graph, ends = build_dependency_graph(model, self.size)
        order = {name: index for index, (name, _) in enumerate(model.named_modules())}
        found = [self._record(graph, group, ends, order)
                 for group in graph.get_all_groups(root_module_types=[_CONV])]
        found.sort(key=lambda group: order[group.name])
        self.groups = {group.name: group for group in found if group.fixed is None}
        self.fixed = {group.name: group for group in found if group.fixed is not None}
        if not self.groups:
            reasons = '; '.join(f'{group.name}: {group.fixed}' for group in found[:5])
            raise TraceError(f'{type(model).__name__}: no layer of it can be pruned ({reasons})')

    def _record(self, graph, group, ends, order) -> ChannelGroup:
        names, couplings, strange = graph._module2name, [], None
        reaches_output = False
        for item in group:
            node, module = item.dep.target, item.dep.target.module
            side = 'out' if graph.is_out_channel_pruning_fn(item.dep.handler) else 'in'
            if side == 'out' and (node.grad_fn in ends or type(module).__name__ == '_OutputOp'):
                reaches_output = True
            strange = strange or _obstacle(module, side)
            if isinstance(module, nn.Module) and names.get(module):
                couplings.append(Coupling(names[module], side, tuple(item.idxs), tuple(item.root_idxs)))
        modules = {name: module for module, name in names.items()}
        producers = sorted({c.layer for c in couplings if c.side == 'out' and isinstance(modules[c.layer], _CONV)},
                           key=order.get)
        sites = [c for c in couplings if c.side == 'out' and _is_site(modules[c.layer], graph)]
        channels = tuple(range(len(group[0].idxs)))
        whole = {c.layer for c in couplings if c.side == 'out' and c.local == c.root == channels}
        name = next(name for name in producers if name in whole)  # the traced root is one of them
        record = ChannelGroup(name, len(channels), couplings, sites, producers)
        record.fixed = 'it is the output' if reaches_output else strange or self._unwanted(record, modules)
        return record

    def _unwanted(self, group: ChannelGroup, modules: dict[str, nn.Module]) -> str | None:
        summed = [name for name in group.producers if not is_depthwise(modules[name])]
        if any(name.startswith(_NOT_PRUNED) for name in group.producers):
            return 'auxiliary head'
        if any(name == layer or name.startswith(f'{layer}.') for name in group.producers for layer in self.keep):
            return 'kept by choice'
        if len(summed) > 1 and not self.prune_residual:
            return f'residual stream of {len(summed)} layers (prune_residual=False)'
        return None

    def full(self) -> dict[str, torch.Tensor]:
        """All channels of every prunable group: {name: bool mask}."""
        return {name: torch.ones(group.channels, dtype=torch.bool) for name, group in self.groups.items()}

    def widths(self, masks: dict[str, torch.Tensor]) -> dict[tuple[str, str], int]:
        """How many channels each side of each layer loses: {(layer, side): removed channels}.

        Args:
            masks: kept channels of groups; groups that are not named stay whole.
        """
        removed: dict[tuple[str, str], int] = {}
        for name, mask in masks.items():
            if bool(mask.all()):
                continue
            for coupling in self.groups[name].couplings:
                key = coupling.layer, coupling.side
                gone = int((~mask[list(coupling.root)]).sum())
                removed[key] = removed.get(key, 0) + gone
        return removed


def is_depthwise(module: nn.Module) -> bool:
    """Whether each channel of a convolution has one filter of its own."""
    return isinstance(module, _CONV) and module.groups == module.in_channels == module.out_channels > 1


def _is_site(module: nn.Module, graph) -> bool:
    """Batch norms, and convolutions that no batch norm follows."""
    if isinstance(module, _NORM):
        return True
    behind = [node.module for node in graph.module2node[module].outputs]
    return isinstance(module, _CONV) and not any(isinstance(item, _NORM) for item in behind)


def _obstacle(module, side: str) -> str | None:
    """Why channels that pass through `module` cannot be pruned, or None."""
    kind = type(module).__name__
    if isinstance(module, _CONV):
        grouped = module.groups > 1 and not is_depthwise(module)
        return f'coupled to a grouped convolution ({module.groups} groups)' if grouped else None
    if isinstance(module, nn.Linear):
        return 'coupled to the output of a linear layer' if side == 'out' else None
    if isinstance(module, (_NORM, nn.PReLU)) or kind in _PASSIVE:
        return None
    return f'coupled to {kind.strip("_")}'
