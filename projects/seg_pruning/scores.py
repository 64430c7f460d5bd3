"""Importance scores: one number per channel, a scale behind the channel's batch norm (arXiv 2007.08386; inferred).

    y = ReLU(s_c * BN(conv(x))_c),  s_c = 1 at first

Scores are kept apart from the batch norm's own scale, so that two networks, one for each task, share them and still
have their own statistics. A score of 0 is the same as a removed channel: it is 0 behind the ReLU and in every sum.
Folded into the batch norms, they leave a plain network behind.
"""

import torch
from torch import nn

from projects.runtime.errors import ConfigError

from .channel_graph import ChannelGraph, Coupling

_NORM = nn.modules.batchnorm._BatchNorm


class ScoreGate:
    """Forward hook that scales the output channels of a layer by scores.

    Args:
        score: scores of a group, (C,).
        site: the layer's channels and the group's.
        channels: the layer's number of output channels.
    """

    def __init__(self, score: torch.Tensor, site: Coupling, channels: int) -> None:
        self.score, self.layer = score, site.layer
        self.local, self.root = list(site.local), list(site.root)
        whole = list(range(channels))
        self.in_order = self.local == whole == self.root and len(score) == channels
        self.channels = channels

    def scale(self) -> torch.Tensor:
        """Scale of each of the layer's channels, 1 for those of other groups."""
        if self.in_order:
            return self.score
        ones = self.score.new_ones(self.channels)
        local = torch.tensor(self.local, device=ones.device)
        return ones.index_copy(0, local, self.score[self.root])

    def __call__(self, module: nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
        return output * self.scale().to(output.dtype).view(1, -1, *[1] * (output.dim() - 2))


def out_channels(module: nn.Module) -> int:
    """Number of output channels of a convolution or batch norm."""
    return module.num_features if isinstance(module, _NORM) else module.out_channels


class ChannelScores(nn.Module):
    """Scores of all groups of a graph; parameters `values.NAME`, with '/' for '.' in the name, (channels,).

    Args:
        graph: the groups.
    """

    def __init__(self, graph: ChannelGraph) -> None:
        super().__init__()
        self._groups = graph.groups
        self.values = nn.ParameterDict({
            name.replace('.', '/'): nn.Parameter(torch.ones(group.channels)) for name, group in graph.groups.items()})

    def __getitem__(self, name: str) -> nn.Parameter:
        return self.values[name.replace('.', '/')]

    def items(self) -> list[tuple[str, nn.Parameter]]:
        """(group, scores) in the order of the network's layers."""
        return [(name, self[name]) for name in self._groups]

    def importance(self) -> dict[str, torch.Tensor]:
        """|s| of every group."""
        return {name: score.detach().abs().clone() for name, score in self.items()}

    def attach(self, model: nn.Module, prefix: str = '') -> int:
        """Put gates behind the layers of `model`; those that have theirs are left alone.

        Args:
            model: the segmentor, or the part of it named `prefix`.
            prefix: beginning of the names of the layers that belong to `model`, for example 'backbone.'.

        Returns:
            Number of gates that `model` has now.
        """
        count = 0
        for name, group in self._groups.items():
            for site in group.sites:
                if not site.layer.startswith(prefix):
                    continue
                layer, score = model.get_submodule(site.layer.removeprefix(prefix)), self[name]
                there = [hook for hook in layer._forward_hooks.values() if isinstance(hook, ScoreGate)]
                if not any(gate.score is score for gate in there):
                    layer.register_forward_hook(ScoreGate(score, site, out_channels(layer)))
                count += 1
        return count


def remove_gates(model: nn.Module) -> None:
    """Take all gates off the layers of `model`."""
    for module in model.modules():
        for key, hook in list(module._forward_hooks.items()):
            if isinstance(hook, ScoreGate):
                del module._forward_hooks[key]


@torch.no_grad()
def fold(model: nn.Module, graph: ChannelGraph, scales: dict[str, torch.Tensor]) -> None:
    """Multiply the scales of channels into the layers that compute them, in place; the outputs are those of gates.

    Args:
        model: the segmentor, without gates.
        graph: its groups.
        scales: (C,) for each group named.

    Raises:
        ConfigError: a batch norm without scale and shift (affine=False).
    """
    for name, values in scales.items():
        for site in graph.groups[name].sites:
            layer = model.get_submodule(site.layer)
            if layer.weight is None:
                raise ConfigError(f'{site.layer}: a batch norm without scale and shift (affine=False) cannot take the '
                                  'scores of its channels. Expected norm_cfg with affine=True')
            weight = layer.weight
            scale = ScoreGate(values.to(weight), site, out_channels(layer)).scale()
            axis = 1 if isinstance(layer, nn.modules.conv._ConvTransposeNd) else 0
            shape = [1] * weight.dim()
            shape[axis] = -1
            weight.mul_(scale.view(shape))
            if layer.bias is not None:
                layer.bias.mul_(scale)
