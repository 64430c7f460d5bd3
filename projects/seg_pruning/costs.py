"""Multiply-adds and parameters of a segmentor as functions of its channels, and its latency.

Counted are convolutions and linear layers on the way from the image to the logits; the auxiliary head, which inference
does not run, is left out. Shapes come from a pass on the meta device, which costs neither time nor memory.
"""

import copy
import statistics
import time
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from .channel_graph import ChannelGraph, evaluation, is_depthwise, outputs
from .scores import remove_gates

_CONV = nn.modules.conv._ConvNd


@dataclass(frozen=True)
class Cost:
    """What a network costs for one image: `macs` multiply-adds, `params` parameters."""

    macs: int
    params: int


@dataclass(frozen=True)
class LayerShape:
    """A layer's part in the cost: `positions` output pixels, `taps` weights per pair of channels."""

    kind: str
    ins: int
    outs: int
    taps: int
    positions: int
    bias: int

    def cost(self, fewer_in: int, fewer_out: int) -> tuple[int, int]:
        """(multiply-adds, parameters) with so many channels fewer."""
        ins, outs = self.ins - fewer_in, self.outs - fewer_out
        if self.kind == 'channelwise':  # batch norm: two parameters a channel, folded into the layer before it
            return 0, self.taps * max(outs, 1)  # PReLU may have one for all
        pairs = outs if self.kind == 'depthwise' else ins * outs
        return self.positions * self.taps * pairs, self.taps * pairs + self.bias * outs


def _shape(module: nn.Module, positions: int) -> LayerShape | None:
    if isinstance(module, _CONV):
        taps = module.weight[0, 0].numel()
        kind = 'depthwise' if is_depthwise(module) else 'dense'
        if not is_depthwise(module) and module.groups > 1:  # never pruned: as a dense layer of the same cost
            return LayerShape(kind, module.in_channels // module.groups, module.out_channels, taps, positions,
                              int(module.bias is not None))
        return LayerShape(kind, module.in_channels, module.out_channels, taps, positions, int(module.bias is not None))
    if isinstance(module, nn.Linear):
        return LayerShape('dense', module.in_features, module.out_features, 1, positions, int(module.bias is not None))
    if list(module.parameters(recurse=False)) and not list(module.children()):
        channels = max(p.shape[0] for p in module.parameters(recurse=False))
        total = sum(p.numel() for p in module.parameters(recurse=False))
        return LayerShape('channelwise', channels, channels, total // channels, 0, 0)
    return None


class CostModel:
    """Cost of a segmentor for one image of `size` (height, width), for any choice of channels.

    Args:
        model: the dense segmentor; left as it is.
        size: of the images that the cost is counted for.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int]) -> None:
        self.size = tuple(size)
        network = copy.deepcopy(model)
        remove_gates(network)
        network = network.to('meta')
        self.layers: dict[str, LayerShape] = {}
        names = {module: name for name, module in network.named_modules()}

        def record(module, inputs, output):
            positions = output[0, 0].numel() if isinstance(module, _CONV) else (
                output.numel() // output.shape[-1] if isinstance(module, nn.Linear) else 0)
            shape = _shape(module, positions)
            if shape is not None:
                self.layers[names[module]] = shape

        for module in network.modules():
            module.register_forward_hook(record)
        with evaluation(network), torch.no_grad():
            outputs(network, torch.empty(1, 3, *self.size, device='meta'), auxiliary=False)

    def dense(self) -> Cost:
        """Cost with all channels."""
        return self.cost({})

    def cost(self, removed: dict[tuple[str, str], int]) -> Cost:
        """Cost with channels removed.

        Args:
            removed: channels fewer by (layer, 'in' or 'out'), as `ChannelGraph.widths` gives them.
        """
        parts = [layer.cost(removed.get((name, 'in'), 0), removed.get((name, 'out'), 0))
                 for name, layer in self.layers.items()]
        return Cost(sum(macs for macs, _ in parts), sum(params for _, params in parts))

    def of(self, graph: ChannelGraph, masks: dict[str, torch.Tensor]) -> Cost:
        """Cost with the kept channels of `masks`."""
        return self.cost(graph.widths(masks))


class Timing(NamedTuple):
    """Milliseconds for one image: `latency` by the wall clock, `cpu` of all threads of the process.

    On a machine that other jobs use the second is the steadier one; without them and with one thread they agree.
    """

    latency: float
    cpu: float


@torch.inference_mode()
def latency_in_turns(networks: dict[str, nn.Module], size: tuple[int, int], repeats: int = 5) -> dict[str, Timing]:
    """Median times of each network for one image, on the device of its weights.

    The networks take turns, so that a slow moment of the machine meets all of them; one turn before warms up.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in networks}
    for turn in range(repeats + 1):
        for name, network in networks.items():
            parameter = next(network.parameters())
            image = torch.zeros(1, 3, *size, dtype=parameter.dtype, device=parameter.device)
            with evaluation(network):
                begin = time.perf_counter(), time.process_time()
                outputs(network, image, auxiliary=False)
                if image.is_cuda:
                    torch.cuda.synchronize()
            if turn:
                times[name].append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    return {name: Timing(*(statistics.median(column) * 1e3 for column in zip(*values, strict=True)))
            for name, values in times.items()}
