"""The structure file: what was kept of a dense network, enough to rebuild the pruned one without tracing it again.

A JSON object:

- `format`: "pruned-structure/1"
- `layers`: {layer: {"in": [dense, kept], "out": [dense, kept]}}, widths of every layer that changed
- `groups`: {first layer: {"channels": dense, "kept": [indices], "layers": [all layers of the group]}}
- `counts`: {part of the network: number of its convolutions, linear layers and batch norms}, to tell networks apart
- `info`: how it came about (method, target, costs), for people
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from projects.runtime.atomic import write_atomic

from .channel_graph import ChannelGraph, is_depthwise
from .errors import StructureError

FORMAT = 'pruned-structure/1'
OPTIONAL_PART = 'auxiliary_head'
_NORM = nn.modules.batchnorm._BatchNorm
_CONV = nn.modules.conv._ConvNd
_TRANSPOSED = nn.modules.conv._ConvTransposeNd


def layer_widths(module: nn.Module) -> tuple[int, int] | None:
    """(inputs, outputs) of a layer that pruning can change, else None."""
    if isinstance(module, _CONV):
        return module.in_channels, module.out_channels
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, _NORM):
        return module.num_features, module.num_features
    if isinstance(module, nn.PReLU):
        return module.num_parameters, module.num_parameters
    return None


def all_widths(model: nn.Module) -> dict[str, tuple[int, int]]:
    """`layer_widths` of all layers that have some."""
    found = ((name, layer_widths(module)) for name, module in model.named_modules())
    return {name: widths for name, widths in found if widths is not None}


def _counts(widths: dict[str, tuple[int, int]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in widths:
        part = name.split('.')[0]
        counts[part] = counts.get(part, 0) + 1
    return counts


def resize(module: nn.Module, ins: int, outs: int) -> None:
    """Give a layer other widths, in place; it keeps its first weights, as an initialisation."""
    def cut(name: str, *sizes: int) -> None:
        value = getattr(module, name, None)
        if value is None:
            return
        part = value.detach()[tuple(slice(size) for size in sizes)].clone()
        if isinstance(value, nn.Parameter):
            setattr(module, name, nn.Parameter(part, requires_grad=value.requires_grad))
        else:
            setattr(module, name, part)

    if isinstance(module, _NORM):
        module.num_features = outs
        for name in ('weight', 'bias', 'running_mean', 'running_var'):
            cut(name, outs)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = outs
        cut('weight', outs)
    elif isinstance(module, nn.Linear):
        module.in_features, module.out_features = ins, outs
        cut('weight', outs, ins)
        cut('bias', outs)
    elif is_depthwise(module):
        module.in_channels = module.out_channels = module.groups = outs
        cut('weight', outs)
        cut('bias', outs)
    else:
        module.in_channels, module.out_channels = ins, outs
        cut('weight', *((ins, outs) if isinstance(module, _TRANSPOSED) else (outs, ins)))
        cut('bias', outs)


@dataclass
class PrunedStructure:
    """The content of a structure file; see the module."""

    layers: dict[str, dict[str, list[int]]]
    groups: dict[str, dict[str, Any]]
    counts: dict[str, int]
    info: dict[str, Any] = field(default_factory=dict)
    source: str = 'structure'

    @classmethod
    def of(cls, dense: dict[str, tuple[int, int]], pruned: nn.Module, graph: ChannelGraph,
           masks: dict[str, torch.Tensor], info: dict[str, Any]) -> 'PrunedStructure':
        """The structure of a network that was just pruned.

        Args:
            dense: `all_widths` of the dense network.
            pruned: the same network, pruned.
            graph: groups of the dense network.
            masks: kept channels by group.
            info: how it came about.
        """
        after = all_widths(pruned)
        layers = {name: {'in': [widths[0], after[name][0]], 'out': [widths[1], after[name][1]]}
                  for name, widths in dense.items() if widths != after[name]}
        groups = {name: dict(channels=group.channels, kept=masks[name].nonzero().flatten().tolist(),
                             layers=group.producers) for name, group in graph.groups.items()}
        return cls(layers, groups, _counts(dense), info)

    @classmethod
    def load(cls, source: 'str | Path | dict[str, Any] | PrunedStructure') -> 'PrunedStructure':
        """Read a structure file, or take the content of one.

        Raises:
            StructureError: no such file, not JSON, or not a structure file.
        """
        if isinstance(source, PrunedStructure):
            return source
        name, content = ('structure', source) if isinstance(source, dict) else (str(source), _read(Path(source)))
        if not isinstance(content, dict) or content.get('format') != FORMAT:
            found = content.get('format') if isinstance(content, dict) else type(content).__name__
            raise StructureError(f'{name}: not a structure file: format is {found!r}, expected {FORMAT!r}. '
                                 'tools/analysis_tools/prune.py and PruneHook write them')
        missing = [key for key in ('layers', 'groups', 'counts') if key not in content]
        if missing:
            raise StructureError(f'{name}: not a complete structure file: it lacks {", ".join(missing)}')
        return cls(content['layers'], content['groups'], content['counts'], content.get('info', {}), name)

    def as_dict(self) -> dict[str, Any]:
        """The content of the file."""
        return dict(format=FORMAT, info=self.info, counts=self.counts, layers=self.layers, groups=self.groups)

    def save(self, path: str | Path) -> None:
        """Write the file in one step."""
        write_atomic(path, json.dumps(self.as_dict()) + '\n')

    def apply(self, model: nn.Module) -> None:
        """Give a dense network the pruned widths, in place; an auxiliary head may be missing.

        Raises:
            StructureError: the file belongs to another network.
        """
        dense = all_widths(model)
        self._compare(_counts(dense), dense)
        for name, widths in self.layers.items():
            if name in dense:
                resize(model.get_submodule(name), widths['in'][1], widths['out'][1])

    def _compare(self, counts: dict[str, int], dense: dict[str, tuple[int, int]]) -> None:
        hint = 'The file belongs to another model: expected the structure that was written when this model was pruned'
        parts = [part for part in {**self.counts, **counts} if part != OPTIONAL_PART]
        for part in parts:
            if self.counts.get(part, 0) != counts.get(part, 0):
                raise StructureError(f'{self.source}: {part} has {self.counts.get(part, 0)} layers in it, the model\'s '
                                     f'has {counts.get(part, 0)}. {hint}')
        for name, widths in self.layers.items():
            if name.split('.')[0] == OPTIONAL_PART and OPTIONAL_PART not in counts:
                continue
            if name not in dense:
                raise StructureError(f'{self.source}: the model has no layer {name}. {hint}')
            wanted = widths['in'][0], widths['out'][0]
            if dense[name] != wanted:
                raise StructureError(f'{self.source}: layer {name} has {wanted[0]} inputs and {wanted[1]} outputs in '
                                     f'it, the model\'s has {dense[name][0]} and {dense[name][1]}. {hint}')


def _read(path: Path) -> Any:
    if not path.is_file():
        beside = sorted(file.name for file in path.parent.glob('*.json'))[:8] if path.parent.is_dir() else []
        hint = f'In {path.parent}/ there are: {", ".join(beside)}.' if beside else ''
        raise StructureError(f'{path}: no such structure file (key model.structure). {hint} It is written when a '
                             'network is pruned: run the search config or tools/analysis_tools/prune.py first')
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise StructureError(f'{path}: not valid JSON: {error}. Is the file complete?') from error
