"""Ghost layers for inference: fixed directions, slices instead of windows, no ghost maps where none are needed.

Two forms (the argument `form`), both without any multiplication for a ghost map:

- `slice` gives bit for bit what the trained model gives in evaluation mode. Ghost maps are written as slices; inside a
  residual block they are added to the block's input at once, and an activation is taken on the intrinsic maps alone.
- `fold` also removes the ghost maps between the two layers of a residual block, see :mod:`.folding`. The results
  differ by rounding.

The directions are data (a buffer), so every deployed model of a config is built alike and a checkpoint says the rest.
"""

import torch
from torch import nn

from projects.restoration.carn import ResidualUnit
from projects.restoration.layers import ResidualBlockNoBN

from .folding import FoldedConv, can_fold
from .ghost_conv import GhostChannels, GhostConv2d
from .shift import add_shifted, concat_shifted

FORMS = ('slice', 'fold')
ZERO_AT_ZERO = (nn.ReLU, nn.LeakyReLU)
"""Activations that commute with a shift: they work on single values and keep the zeros beyond the border."""


class DeployedGhostConv2d(GhostChannels):
    """A trained ghost layer for inference.

    Args:
        layer (GhostConv2d): The trained layer; the primary convolution is taken over, not copied.

    State: that of :class:`GhostConv2d`, with the integer buffer `offset`, (2,) or (G, 2), instead of `shift_weight`.
    """

    def __init__(self, layer):
        super().__init__(layer.out_channels, layer.intrinsic_channels, layer.output_index.device)
        self.primary_conv = layer.primary_conv.requires_grad_(False)
        for name in ('in_channels', 'kernel_size', 'stride', 'padding', 'dilation', 'groups', 'padding_mode'):
            setattr(self, name, getattr(layer, name))
        if not layer.output_index.is_meta:
            self.set_channels(layer.source_index, layer.output_index)
        offsets = layer.offsets() if layer.ghost_channels else [(0, 0)]
        offset = torch.tensor(offsets if len(offsets) > 1 else offsets[0], device=layer.output_index.device)
        self.register_buffer('offset', offset)
        self._offsets = offsets

    def _load_from_state_dict(self, *args, **kwargs):
        super()._load_from_state_dict(*args, **kwargs)
        self._offsets = [tuple(pair) for pair in self.offset.reshape(-1, 2).tolist()]

    def offsets(self):
        """Directions: a list with one (dy, dx), or one for each ghost map."""
        return self._offsets

    def complete(self, intrinsic):
        """All outputs, (N, C, H, W), from the intrinsic maps, (N, I, H, W)."""
        if self.ghost_channels:
            intrinsic = concat_shifted(intrinsic, self.sources(intrinsic), self._offsets)
        return self.in_output_order(intrinsic)

    def complete_onto(self, base, intrinsic):
        """`base + complete(intrinsic)`."""
        if self.ghost_channels and self.outputs_in_order and len(self._offsets) == 1:
            return add_shifted(base, intrinsic, self.sources(intrinsic), self._offsets[0])
        return base + self.complete(intrinsic)

    def forward(self, x):
        return self.complete(self.primary_conv(x))


class GhostPair(nn.Sequential):
    """Ghost layer, activation, ghost layer, without the first one's ghost maps where they need not exist.

    Args:
        first, second (DeployedGhostConv2d): The layers.
        activation (nn.Module): One of `ZERO_AT_ZERO`, in place.
        form (str): 'slice' or 'fold'. A pair that cannot be folded, or would not gain, remains in slices.
    """

    def __init__(self, first, activation, second, form):
        super().__init__(first, activation, second)
        self.form = form
        self._folded = None

    def _load_from_state_dict(self, *args, **kwargs):
        self._folded = None
        super()._load_from_state_dict(*args, **kwargs)

    def _apply(self, *args, **kwargs):
        self._folded = None
        return super()._apply(*args, **kwargs)

    def intrinsic(self, x):
        """Intrinsic maps of the second layer."""
        first, activation, second = self
        maps = activation(first.primary_conv(x))
        if self._folded is None:  # at first, and after weights were loaded or moved
            fold = self.form == 'fold' and can_fold(first, second)
            self._folded = FoldedConv(first, second) if fold else False
        return self._folded(maps) if self._folded else second.primary_conv(first.complete(maps))

    def forward(self, x):
        return self[2].complete(self.intrinsic(x))


class DeployedResidualBlock(nn.Module):
    """Residual block around a :class:`GhostPair`.

    Args:
        body (GhostPair): The two layers.
        res_scale (float): Factor of what they add.
        activation (nn.Module, optional): Behind the sum.
    """

    def __init__(self, body, res_scale=1.0, activation=None):
        super().__init__()
        self.body, self.res_scale, self.activation = body, res_scale, activation

    def forward(self, x):
        intrinsic = self.body.intrinsic(x)
        if self.res_scale != 1:
            intrinsic = intrinsic * self.res_scale
        out = self.body[2].complete_onto(x, intrinsic)
        return out if self.activation is None else self.activation(out)


def _pair(body, form):
    """The deployed pair for (ghost layer, activation, ghost layer), or None for anything else."""
    kinds = [type(m) for m in body.children()]
    if len(kinds) != 3 or kinds[1] not in ZERO_AT_ZERO or {kinds[0], kinds[2]} != {GhostConv2d}:
        return None
    first, activation, second = body
    return GhostPair(DeployedGhostConv2d(first), activation, DeployedGhostConv2d(second), form)


def _deployed(module, form):
    """What stands for a module in the deployed model; None: the module itself, with its children deployed."""
    if type(module) is GhostConv2d:
        return DeployedGhostConv2d(module)
    if type(module) is nn.Sequential:
        return _pair(module, form)
    if type(module) in (ResidualBlockNoBN, ResidualUnit):
        body = _pair(module.body, form)
        return body and DeployedResidualBlock(body, getattr(module, 'res_scale', 1.0), getattr(module, 'relu', None))
    return None


def deploy(model, form='slice'):
    """Replace all ghost layers of a model by their inference form, in place.

    Args:
        model (nn.Module): The model; not itself a ghost layer.
        form (str): 'slice' or 'fold', see the module's text.

    Returns:
        nn.Module: The model. It cannot be trained any more.

    Raises:
        ValueError: another form.
    """
    if form not in FORMS:
        raise ValueError(f'form={form!r}: expected one of {FORMS}')
    for name, child in model.named_children():
        replacement = _deployed(child, form)
        if replacement is None:
            deploy(child, form)
        else:
            setattr(model, name, replacement.train(child.training))
    return model
