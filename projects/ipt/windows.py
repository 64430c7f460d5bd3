"""Whole images through a network that takes windows of one size: IPT's rules for windows that overlap.

Along each side of the image, windows lie on a regular grid, and one more at the end. What each of them contributes to
which output pixel is a weight; the weight of a pixel is the product of its row's and its column's, and weights are
divided by their sums, so that an image is put together by one multiplication and addition for each window.

The rules, for windows of side P:

- 'ipt_pt', the released PyTorch code (`forward_chop`), by which the published numbers were made: stride P/4, margins
  of P/4 are cut off, pixels are averaged over the windows that remain; the last window takes over in the middle of its
  overlap with the grid. The code runs the top and left windows twice, once for the border. Here they run once, with
  the same result: it is this rule, and one part of the border where the code takes a single window.
- 'ipt_ms', the released MindSpore code: stride 3P/4, margins of P/8 are cut off, so that windows abut. What it does
  with a rest at the end of the image is not known; here it is the rule above.
- 'paper': windows overlap by 10 pixels. Where they meet is not said, here in the middle of the overlap.
- 'feather': the windows of 'ipt_pt', weighted by the distance from their border, which hides seams (a remark of the
  authors; not in the released code).
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from projects.runtime.errors import ConfigError


@dataclass(frozen=True)
class WindowRule:
    """How windows of a side `window` are placed and merged.

    Attributes:
        window (int): Side, in input pixels.
        stride (int): Between windows of the grid.
        margin (int): Cut off each side of a window, except at the border of the image.
        feather (bool): Weights that fall off towards the border of a window, instead of equal ones.
        single_corner (bool): The top border, up to one window from the left, comes from the first window alone.
    """

    window: int
    stride: int
    margin: int
    feather: bool = False
    single_corner: bool = False


RULES = ('ipt_pt', 'ipt_ms', 'paper', 'feather')


def window_rule(name, window):
    """A rule by its name, for windows of this side.

    Raises:
        ConfigError: no such rule, or a side that it cannot divide.
    """
    divisor = dict(ipt_pt=4, feather=4, ipt_ms=8, paper=2)
    if name not in divisor:
        raise ConfigError(f'model.test_cfg.tiling={name!r}: expected one of {", ".join(RULES)}')
    if window % divisor[name] or name == 'paper' and window <= 20:
        others = [other for other in RULES if not window % divisor[other] and (other != 'paper' or window > 20)]
        raise ConfigError(f'model.test_cfg.tiling={name!r} does not fit windows of {window} pixels '
                          f'(model.generator.patch_size). Rules that do: {", ".join(others) or "none"}')
    quarter, eighth = window // 4, window // 8
    return dict(
        ipt_pt=WindowRule(window, quarter, quarter, single_corner=True),
        ipt_ms=WindowRule(window, 6 * eighth, eighth),
        paper=WindowRule(window, window - 10, 5),
        feather=WindowRule(window, quarter, 0, feather=True))[name]


def run_in_windows(network, image, rule, scale=1, batch_size=64):
    """Run a network on a whole image, window by window.

    An image that is smaller than a window is continued by reflection, and the result cut (an inferred choice, the
    released code refuses it).

    Args:
        network (callable): Maps (n, C, P, P) to (n, C', sP, sP).
        image (Tensor): (N, C, H, W).
        rule (WindowRule): Placement and merging.
        scale (int): The s of the network.
        batch_size (int): Windows in one call of the network.

    Returns:
        Tensor: (N, C', sH, sW), on the image's device.
    """
    number, _, height, width = image.shape
    image = _at_least(image, rule.window)
    (tops, row_weights), (lefts, column_weights) = (_axis(side, rule, scale) for side in image.shape[-2:])
    places = list(product(range(len(tops)), range(len(lefts))))
    out = corner = None
    for start in range(0, len(places), max(1, batch_size // number)):
        part = places[start:start + max(1, batch_size // number)]
        windows = torch.cat([_cut(image, tops[row], lefts[column], rule.window) for row, column in part])
        results = network(windows).unflatten(0, (len(part), number))
        if out is None:
            out = results.new_zeros(*results.shape[1:3], *(scale * side for side in image.shape[-2:]))
            corner = results[0]
        row_weights, column_weights = row_weights.to(results), column_weights.to(results)
        for (row, column), result in zip(part, results, strict=True):
            weight = row_weights[row][:, None] * column_weights[column]
            _cut(out, scale * tops[row], scale * lefts[column], scale * rule.window).add_(result * weight)
    if rule.single_corner:
        _take_corner(out, corner, rule, scale, image.shape[-1])
    return out[..., :scale * height, :scale * width]


def window_count(height, width, rule):
    """Calls of the network (with one window each) that an image takes."""
    tops, lefts = (_axis(max(side, rule.window), rule, 1)[0] for side in (height, width))
    return len(tops) * len(lefts)


def _axis(length, rule, scale):
    """Along one side: first pixels of the windows (ascending), and their weights (windows, scale * P)."""
    window = rule.window
    rest = (length - window) % rule.stride
    grid = list(range(0, length - rest - window + 1, rule.stride))
    starts = grid if rest == 0 else [*grid, length - window]
    weights = np.zeros((len(starts), scale * window))
    if rule.feather:
        place = np.arange(scale * window) + 0.5
        weights[:] = np.minimum(place, place[::-1])
    else:
        seam = _seam(length, rule, scale)
        for index, start in enumerate(grid):
            first = 0 if index == 0 else scale * rule.margin
            last = scale * (window - rule.margin if index + 1 < len(grid) else window)
            weights[index, first:max(first, min(last, seam - scale * start))] = 1
        weights[-1, seam - scale * (length - window):] = 1
    total = np.zeros(scale * length)
    for start, weight in zip(starts, weights, strict=True):
        total[scale * start:scale * (start + window)] += weight
    for start, weight in zip(starts, weights, strict=True):
        weight /= total[scale * start:scale * (start + window)]
    return starts, torch.from_numpy(weights)


def _seam(length, rule, scale):
    """The output pixel from which on the last window counts: the middle of its overlap with the grid."""
    rest = (length - rule.window) % rule.stride
    return scale * (length - rest) - int((rule.window - rest) / 2 * scale)


def _cut(image, top, left, side):
    return image[..., top:top + side, left:left + side]


def _take_corner(out, corner, rule, scale, width):
    """The released code's exception at the top: its left strip of windows overwrites what the top one averaged."""
    rows, columns = scale * rule.margin, min(scale * rule.window, _seam(width, rule, scale))
    out[..., :rows, rows:columns] = corner[..., :rows, rows:columns]


def _at_least(image, side):
    """Continue an image by reflection at the bottom and the right, up to `side`."""
    for dim in (-2, -1):
        length = image.shape[dim]
        if length < side:
            index = torch.from_numpy(np.pad(np.arange(length), (0, side - length), mode='reflect'))
            image = image.index_select(dim, index.to(image.device))
    return image
