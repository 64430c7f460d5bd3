"""From a trained dense network to a ghost network to fine-tune (arXiv 2101.08525).

Filters are chosen layer by layer (:mod:`.clustering`). Every ghost layer returns its maps in the dense layer's order,
so neighbouring layers, residual sums and concatenations fit whatever the network looks like, and the intrinsic maps of
a layer are, for the same input, exactly the dense layer's maps in those places.
"""

import re

import torch
from torch import nn
from tqdm import tqdm

from .clustering import choose_filters
from .ghost_conv import GhostConv2d

TRUNKS = {
    'EDSR': r'body\.\d+\.body\.[02]$',
    'RDN': r'rdbs\.\d+\.layers\.\d+\.conv$',
    'CARN': r'b\d\.b\d\.body\.[02]$',
    'IMDN': r'IMDB\d+\.c[123]$',
}
"""Names of the layers that become ghost layers, by class of network."""


def _set_from_dense(layer, weight, bias, seed):
    """Fill a ghost layer from the weights of a dense one."""
    conv = layer.primary_conv
    choice = choose_filters(weight, layer.intrinsic_channels, layer.groups, seed)
    conv.weight.copy_(weight[choice.intrinsic])
    if conv.bias is not None:
        conv.bias.copy_(bias[choice.intrinsic])
    layer.set_channels(choice.source_index, choice.output_index)


def _fitting(state, name, layer):
    """(weight, bias) of the dense layer behind a ghost layer."""
    weight, bias = state.get(f'{name}.weight'), state.get(f'{name}.bias')
    shape = (layer.out_channels, *layer.primary_conv.weight.shape[1:])
    if weight is None or weight.shape != shape:
        found = 'nothing' if weight is None else f'{tuple(weight.shape)}'
        raise ValueError(f'{name}.weight: expected filters {tuple(shape)} of the dense network, found {found}')
    if (bias is None) != (layer.primary_conv.bias is None):
        raise ValueError(f'{name}.bias: one of the ghost layer and the dense layer has a bias, the other has none')
    return weight, bias


@torch.no_grad()
def initialise_from_dense(model, state, seed=0):
    """Fill a ghost network from the weights of its dense twin.

    Args:
        model (nn.Module): A network with :class:`GhostConv2d` layers, whose other layers have the names of the twin's.
        state (dict[str, Tensor]): State of the twin.
        seed (int): Of k-means.

    Returns:
        int: Ghost layers filled. Their directions stay as they were.

    Raises:
        ValueError: the state is not that of the twin; the message names the entry.
    """
    layers = {name: m for name, m in model.named_modules() if isinstance(m, GhostConv2d)}
    taken = {f'{name}.{kind}' for name in layers for kind in ('weight', 'bias')}
    own = {key for key in model.state_dict() if not key.startswith(tuple(f'{name}.' for name in layers))}
    rest = {key: value for key, value in state.items() if key not in taken}
    differing = own ^ rest.keys()
    if not layers or differing:
        raise ValueError(f'not the weights of the dense twin: {len(layers)} ghost layers, and among the other layers '
                         f'only one of the two has {sorted(differing)[:3]}')
    fitting = {name: _fitting(state, name, layer) for name, layer in layers.items()}
    try:
        model.load_state_dict(rest, strict=False)
    except RuntimeError as error:  # shapes
        raise ValueError(f'not the weights of the dense twin: {error}') from error
    for name, layer in tqdm(layers.items(), desc='choosing filters', unit='layer', leave=False):
        _set_from_dense(layer, *fitting[name], seed)
    return len(layers)


def _trunk(model, include):
    if include is not None:
        return include
    for module in model.modules():
        if type(module).__name__ in TRUNKS:
            return TRUNKS[type(module).__name__]
    raise ValueError(f'include is not set: expected a pattern of layer names; only {", ".join(TRUNKS)} have one of '
                     f'their own, the model is {type(model).__name__}')


def _ghost_of(conv, ghost):
    return GhostConv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups,
        conv.bias is not None, conv.padding_mode, device=conv.weight.device, dtype=conv.weight.dtype, **ghost)


def ghostify(model, include=None, exclude=None, seed=0, **ghost):
    """Turn a trained dense model into a ghost model, in place.

    Args:
        model (nn.Module): Any model with `nn.Conv2d` layers.
        include, exclude (str, optional): Patterns (`re.search`) of the names of layers to convert and to leave. By
            default the 3x3 layers of the trunk's blocks of EDSR, RDN, CARN and IMDN. Only convolutions with stride 1
            and a window above 1x1 are converted.
        seed (int): Of k-means.
        ghost: Arguments of :class:`GhostConv2d`, for example `ratio`.

    Returns:
        list[str]: Names of the converted layers.

    Raises:
        ValueError: no layer matches, or no `include` for a model without a default.
    """
    include = _trunk(model, include)
    names = [name for name, m in model.named_modules()
             if type(m) is nn.Conv2d and m.stride == (1, 1) and m.kernel_size != (1, 1)
             and re.search(include, name) and not (exclude and re.search(exclude, name))]
    if not names:
        raise ValueError(f'include={include!r}, exclude={exclude!r}: no convolution with stride 1 and a window above '
                         '1x1 has such a name')
    state = model.state_dict()
    for name in names:
        parent, _, last = name.rpartition('.')
        conv = model.get_submodule(name)
        setattr(model.get_submodule(parent), last, _ghost_of(conv, ghost).train(conv.training))
    initialise_from_dense(model, state, seed)
    return names
