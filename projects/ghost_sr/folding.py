"""Two ghost layers in a row without the ghost maps between them.

A convolution over an intrinsic map and its shifted copy is a convolution over the intrinsic map alone: the copy's taps
move by the offset and are added to the map's own. The 3 x 3 window grows by one row, one column, or both, while the
input channels halve (ratio 0.5): per output map 9, 12 or 16 taps for each intrinsic map instead of 18.

Near the border the two differ: a second layer pads the shifted map with zeros, where the moved taps would meet the map
behind the shift. The line of the map concerned is convolved once more with the taps concerned, and subtracted.
"""

import torch
from torch import nn
from torch.nn import functional as F

from .shift import translate


def _taps(offset):
    return (3 + abs(offset[0])) * (3 + abs(offset[1]))


def can_fold(first, second):
    """Whether the pair can be folded, and costs no more multiplications than in slices.

    Args:
        first, second (DeployedGhostConv2d): The layers, an activation between them.
    """
    conv = second.primary_conv
    plain = (type(conv) is nn.Conv2d and conv.kernel_size == (3, 3) and conv.padding == (1, 1) and conv.groups == 1
             and conv.stride == conv.dilation == (1, 1) and conv.padding_mode == 'zeros')
    offsets = first.offsets()
    if not plain or not first.ghost_channels or len(offsets) > 1 or max(map(abs, offsets[0])) > 1:
        return False
    return _taps(offsets[0]) * first.intrinsic_channels <= 9 * first.out_channels


def _along(line, weight, start, length, padding):
    """Convolve a line (N, C, length) and return `length` outputs from `start` on."""
    return F.conv1d(line, weight, padding=padding)[..., start:start + length]


class FoldedConv:
    """The second layer's primary convolution, on the intrinsic maps of the first.

    Args:
        first, second (DeployedGhostConv2d): A pair that :func:`can_fold` accepts.

    Calling it takes activated intrinsic maps of `first`, (N, I, H, W), and returns intrinsic maps of `second`; equal to
    what `second` makes of all maps of `first`, but for rounding.
    """

    def __init__(self, first, second):
        with torch.inference_mode(False), torch.no_grad():
            kept = first.intrinsic_channels
            weight = second.primary_conv.weight[:, first.output_index.argsort()]
            own, moved = weight[:, :kept], torch.zeros_like(weight[:, :kept])
            moved = moved.index_add(1, first.source_index, weight[:, kept:])
            (self.dy, self.dx), = first.offsets()
            self.weight = self._enlarged(own, moved)
            self.bias = second.primary_conv.bias
            # the taps that look beyond the first row or column of the shifted map (offset 1), or the last (offset -1)
            self.row_taps = moved[:, :, 0 if self.dy > 0 else 2].contiguous() if self.dy else None
            self.column_taps = moved[..., 0 if self.dx > 0 else 2].contiguous() if self.dx else None

    def _enlarged(self, own, moved):
        dy, dx = self.dy, self.dx
        weight = own.new_zeros(*own.shape[:2], 3 + abs(dy), 3 + abs(dx))
        for taps, (row, column) in ((own, (0, 0)), (moved, (dy, dx))):
            row, column = row + max(-dy, 0), column + max(-dx, 0)
            weight[:, :, row:row + 3, column:column + 3] += taps
        return weight

    def __call__(self, maps):
        height, width = maps.shape[-2:]
        # Equal padding on both sides gives one line too many, which is cheaper than a padded copy of the maps.
        out = F.conv2d(maps, self.weight, self.bias, padding=(1 + abs(self.dy), 1 + abs(self.dx)))
        row, column = max(self.dy, 0), max(self.dx, 0)
        out = out[:, :, row:row + height, column:column + width]
        if self.dy:
            edge = 0 if self.dy > 0 else -1
            out[:, :, edge] -= _along(maps[:, :, edge], self.row_taps, 1 + self.dx, width, padding=2)
        if self.dx:
            edge = 0 if self.dx > 0 else -1
            line = translate(maps[..., edge:][..., :1], (self.dy, 0))[..., 0]
            out[..., edge] -= _along(line, self.column_taps, 0, height, padding=1)
        return out
