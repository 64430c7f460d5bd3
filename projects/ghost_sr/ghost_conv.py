"""`GhostConv2d`: a convolution that computes part of its maps and shifts them to get the rest (arXiv 2101.08525).

Intrinsic maps come from a primary convolution with fewer outputs; ghost maps are intrinsic maps displaced by at most
`max_shift` pixels in a direction that is learned, one for the whole layer. State: the primary convolution, the real-
valued window that the direction is chosen by, and two index buffers, so that a checkpoint says all.

Deviations from the released code (mindspore-ai/models, research/cv/GhostSR):

- with fewer intrinsic than ghost maps, ghosts cycle over the intrinsic maps; the released code repeats the intrinsic
  block instead and shifts nothing or little;
- `source_index` names the intrinsic map behind each ghost map, and `output_index` puts the outputs back into the order
  of a dense layer that the filters were taken from. Both are inferred: the paper chooses filters by clustering and does
  not say how ghosts find their sources. From scratch both are the identity, as in the released code.
"""

import math

import torch
from mmcv.cnn import build_conv_layer
from mmengine.registry import MODELS
from torch import nn
from torch.nn import functional as F

from .direction import MODES, best_position, gumbel_noise, one_hot_window
from .shift import ConcatShifted, concat_shifted


def _is_identity(index):
    return bool(torch.equal(index.cpu(), torch.arange(len(index))))


class GhostChannels(nn.Module):
    """What the trained and the deployed ghost layer share: which map stands where.

    Args:
        out_channels, intrinsic_channels (int): All outputs, and those that are computed.
    """

    def __init__(self, out_channels, intrinsic_channels, device=None):
        super().__init__()
        self.out_channels, self.intrinsic_channels = out_channels, intrinsic_channels
        self.ghost_channels = out_channels - intrinsic_channels
        self.register_buffer('source_index', torch.arange(self.ghost_channels, device=device) % intrinsic_channels)
        self.register_buffer('output_index', torch.arange(out_channels, device=device))
        self.sources_in_order, self.outputs_in_order = self.ghost_channels <= intrinsic_channels, True

    def set_channels(self, source_index, output_index):
        """Say which intrinsic map each ghost map shifts, and where every map goes.

        Args:
            source_index (Tensor): (G,) integers; ghost map g is a shifted intrinsic map `source_index[g]`.
            output_index (Tensor): (C,) integers, a permutation; output c is map `output_index[c]` of
                (intrinsic maps, ghost maps).

        Raises:
            ValueError: indices of another length or range.
        """
        source_index, output_index = map(torch.as_tensor, (source_index, output_index))
        if not torch.equal(output_index.sort().values.cpu(), torch.arange(self.out_channels)):
            raise ValueError(f'output_index: expected a permutation of 0..{self.out_channels - 1}')
        if source_index.shape != (self.ghost_channels,) or not all(
                0 <= i < self.intrinsic_channels for i in source_index.tolist()):
            raise ValueError(f'source_index: expected {self.ghost_channels} numbers below {self.intrinsic_channels}')
        self.source_index.copy_(source_index)
        self.output_index.copy_(output_index)
        self._look_at_indices()

    def _look_at_indices(self):
        if not self.output_index.is_meta:
            self.sources_in_order = _is_identity(self.source_index)
            self.outputs_in_order = _is_identity(self.output_index)

    def _load_from_state_dict(self, *args, **kwargs):
        super()._load_from_state_dict(*args, **kwargs)
        self._look_at_indices()

    def sources(self, intrinsic):
        """The maps that are shifted, (N, G, H, W), from the intrinsic ones, (N, I, H, W)."""
        if self.sources_in_order:
            return intrinsic if self.ghost_channels == intrinsic.shape[1] else intrinsic[:, :self.ghost_channels]
        return intrinsic.index_select(1, self.source_index)

    def in_output_order(self, maps):
        """Maps (N, C, H, W), intrinsic ones first, in the order of the outputs."""
        return maps if self.outputs_in_order else maps.index_select(1, self.output_index)

    def extra_repr(self):
        return f'out_channels={self.out_channels}, intrinsic_channels={self.intrinsic_channels}'


@MODELS.register_module()
class GhostConv2d(GhostChannels):
    """Ghost layer, usable wherever OpenMMLab takes `conv_cfg=dict(type='GhostConv2d')`.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype:
            As `nn.Conv2d`; they go to the primary convolution. Ghost maps are always zero beyond the border.
        ratio (float): Share of intrinsic maps, above 0 and at most 1 (the paper's 1 - lambda); their number is
            rounded up.
        max_shift (int): Largest displacement along an axis in pixels (the paper's d).
        share_direction (bool): One direction for the layer, as released; otherwise one for each ghost map (inferred).
        mode (str): 'ste_abs' or 'gumbel_softmax', see :mod:`.direction`; 'fixed' learns no direction.
        tau (float): Temperature of 'gumbel_softmax'.
        noise_decay (float): The Gumbel noise is multiplied by `noise_decay ** (epoch - 1)`; `epoch` is an attribute
            that :class:`GhostShiftEpochHook` sets.
        direction (tuple[int, int], optional): The direction (dy, dx) to start with; None: a random one.
        primary_cfg (dict, optional): Type of the primary convolution. None is `nn.Conv2d`.

    Shape: as `nn.Conv2d`.

    Raises:
        ValueError: an argument out of its range.
    """

    transposed = False
    output_padding = (0, 0)

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
                 padding_mode='zeros', device=None, dtype=None, *, ratio=0.5, max_shift=1, share_direction=True,
                 mode='ste_abs', tau=1.0, noise_decay=0.97, direction=None, primary_cfg=None):
        if not 0 < ratio <= 1:
            raise ValueError(f'GhostConv2d: ratio={ratio}: expected a share of intrinsic maps above 0, at most 1')
        if mode not in MODES:
            raise ValueError(f'GhostConv2d: mode={mode!r}: expected one of {MODES}')
        if max_shift < 1:
            raise ValueError(f'GhostConv2d: max_shift={max_shift}: expected at least 1 pixel')
        intrinsic = math.ceil(round(out_channels * ratio, 6))
        if intrinsic % groups:
            raise ValueError(f'GhostConv2d: groups={groups} does not divide the {intrinsic} intrinsic maps')
        super().__init__(out_channels, intrinsic, device)
        self.ratio, self.max_shift, self.share_direction = ratio, max_shift, share_direction
        self.mode, self.tau, self.noise_decay, self.epoch = mode, tau, noise_decay, 1
        place = {key: value for key, value in (('device', device), ('dtype', dtype)) if value is not None}
        self.primary_conv = build_conv_layer(
            primary_cfg, in_channels, intrinsic, kernel_size, stride=stride, padding=padding, dilation=dilation,
            groups=groups, bias=bias, padding_mode=padding_mode, **place)
        for name in ('in_channels', 'kernel_size', 'stride', 'padding', 'dilation', 'groups', 'padding_mode'):
            setattr(self, name, getattr(self.primary_conv, name))
        self._init_window(direction, place)

    def _init_window(self, direction, place):
        if not self.ghost_channels:
            self.register_parameter('shift_weight', None)
            return
        side = 2 * self.max_shift + 1
        windows = 1 if self.share_direction else self.ghost_channels
        self.shift_weight = nn.Parameter(torch.empty(windows, 1, side, side, **place),
                                         requires_grad=self.mode != 'fixed')
        nn.init.kaiming_uniform_(self.shift_weight, a=math.sqrt(5))
        if direction is not None:
            self.set_direction(direction)

    @torch.no_grad()
    def set_direction(self, direction):
        """Make (dy, dx), at most `max_shift` pixels each, the best direction, before noise.

        Raises:
            ValueError: a larger displacement.
        """
        if max(map(abs, direction)) > self.max_shift:
            raise ValueError(f'GhostConv2d: direction={direction}: expected at most max_shift={self.max_shift} pixels')
        row, column = (o + self.max_shift for o in direction)
        self.shift_weight.zero_()
        self.shift_weight[:, :, row, column] = 1

    @property
    def noise_scale(self):
        """Factor of the Gumbel noise in the current epoch."""
        return self.noise_decay ** (self.epoch - 1)

    def sample_uniform(self):
        """Samples on [0, 1) that the noise of one training step is made of, in the shape of the window."""
        return torch.rand_like(self.shift_weight)

    def offsets(self):
        """Directions without noise: a list with one (dy, dx), or one for each ghost map."""
        return self._offsets(best_position(self.shift_weight.detach(), self.mode))

    def _offsets(self, position):
        if position.is_meta:  # a cost estimate: every direction costs the same
            return [(0, 0)] * len(position)
        side = 2 * self.max_shift + 1
        return [(p // side - self.max_shift, p % side - self.max_shift) for p in position.tolist()]

    def forward(self, x):
        intrinsic = self.primary_conv(x)
        if not self.ghost_channels:
            return self.in_output_order(intrinsic)
        sources = self.sources(intrinsic)
        if self.training and self.mode != 'fixed':
            maps = self._train_shift(intrinsic, sources)
        else:
            maps = self._shift(intrinsic, sources, None, self.offsets())
        return self.in_output_order(maps)

    def _train_shift(self, intrinsic, sources):
        noise = gumbel_noise(self.sample_uniform()) * self.noise_scale
        window, position = one_hot_window(self.shift_weight, noise, self.mode, self.tau)
        if self.share_direction:
            return self._shift(intrinsic, sources, window, self._offsets(position))
        ghosts = F.conv2d(sources, window.to(sources.dtype), padding=self.max_shift, groups=self.ghost_channels)
        return torch.cat([intrinsic, ghosts], dim=1)

    def _shift(self, intrinsic, sources, window, offsets):
        if len(offsets) == 1:
            return ConcatShifted.apply(intrinsic, sources, window, offsets[0])
        return concat_shifted(intrinsic, sources, offsets)

    def extra_repr(self):
        return (f'{super().extra_repr()}, max_shift={self.max_shift}, share_direction={self.share_direction}, '
                f'mode={self.mode!r}')
