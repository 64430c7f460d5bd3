"""Where the objects are: binary masks on feature maps, from ground-truth boxes (arXiv 2103.14475).

The rule is that of the official code: a box is drawn on the one level that its size names (`mask_assign='scale'`),
with its corners divided by the level's stride and truncated; a box thinner than a cell sets one cell. All boxes of a
batch are drawn at once, without waiting for the device.

Boxes are (x1, y1, x2, y2) in pixels of the network input, one (M_i, 4) tensor per image.

Inferred: a box of no area on the right or bottom border sets the last cell, where the official code fails;
`mask_assign='all'`, which draws every box on every level.
"""

import torch
import torch.nn.functional as F
from mmdet.structures.bbox import bbox_overlaps
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

MASK_ASSIGN = ('scale', 'all')


def box_levels(boxes: Tensor, num_levels: int, finest_scale: float = 56) -> Tensor:
    """Level of each box (..., 4): floor(log2(s / finest_scale)), s the root of its area counted with both borders.

    With 56: s < 112 is level 0, < 224 level 1, < 448 level 2, < 896 level 3, as far as there are levels.
    """
    width, height = boxes[..., 2] - boxes[..., 0] + 1, boxes[..., 3] - boxes[..., 1] + 1
    scale = torch.sqrt(width * height)
    return torch.floor(torch.log2(scale / finest_scale + 1e-6)).clamp(0, num_levels - 1).long()


def _spans(first: Tensor, last: Tensor, single: Tensor, length: int) -> Tensor:
    """(N, M) bounds of half-open cell ranges to (N, M, length) booleans; `single` ones set the first cell alone."""
    first = torch.where(single, first.clamp(max=length - 1), first)
    last = torch.where(single, first + 1, last.clamp(max=length))
    cells = torch.arange(length, device=first.device)
    return (cells >= first[..., None]) & (cells < last[..., None])


def _draw(boxes: Tensor, drawn: Tensor, size: tuple[int, int], stride: float) -> Tensor:
    """Union of the `drawn` ones among padded boxes (N, M, 4), as a float mask (N, H, W)."""
    height, width = size
    corners = torch.trunc(boxes / stride).long()
    left, top = corners[..., 0].clamp(min=0), corners[..., 1].clamp(min=0)
    right, bottom = corners[..., 2].clamp(max=width), corners[..., 3].clamp(max=height)
    single = (left == right) | (top == bottom)
    columns = _spans(left, right, single, width) & drawn[..., None]
    rows = _spans(top, bottom, single, height)
    covered = torch.einsum('nmh,nmw->nhw', rows.float(), columns.float())
    return (covered > 0).float()


def _padded(boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Boxes of a batch as (N, M, 4), and which of the rows are real (N, M)."""
    counts = torch.tensor([len(item) for item in boxes])
    padded = pad_sequence([item.detach().float() for item in boxes], batch_first=True)
    real = torch.arange(padded.shape[1]) < counts[:, None]
    return padded, real.to(padded.device, non_blocking=True)


def object_masks(boxes: list[Tensor], sizes: list[tuple[int, int]], strides: list[float], *,
                 mask_assign: str = 'scale', finest_scale: float = 56) -> list[Tensor]:
    """Object masks of a batch, one (N, H_l, W_l) float tensor of zeros and ones per level.

    Args:
        boxes: ground truth of each image, (M_i, 4), M_i may be 0; ignored boxes left out.
        sizes: (H_l, W_l) of each level.
        strides: pixels per cell of each level.
        mask_assign: 'scale' draws a box on the level of its size, 'all' on every level.
        finest_scale: see `box_levels`.
    """
    padded, real = _padded(boxes)
    levels = box_levels(padded, len(sizes), finest_scale)
    masks = []
    for level, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
        drawn = real & (levels == level) if mask_assign == 'scale' else real
        masks.append(_draw(padded, drawn, size, stride))
    return masks


def backbone_masks(boxes: list[Tensor], image_size: tuple[int, int], sizes: list[tuple[int, int]]) -> list[Tensor]:
    """Masks for backbone stages: all boxes drawn on one map of stride 4, resized to each stage by nearest neighbour.

    Args:
        boxes: as in `object_masks`.
        image_size: height and width of the network input.
        sizes: (H_s, W_s) of each stage.
    """
    padded, real = _padded(boxes)
    finest = tuple(-(-length // 4) for length in image_size)
    mask = _draw(padded, real, finest, 4)[:, None]
    return [F.interpolate(mask, size=size, mode='nearest')[:, 0] for size in sizes]


def anchor_masks(boxes: list[Tensor], anchors: list[Tensor], sizes: list[tuple[int, int]], phi: float = 0.5
                 ) -> list[Tensor]:
    """Near-object masks of fine-grained feature imitation (FGFI, arXiv 1906.03609), a baseline.

    A cell is set if one of its anchors overlaps a box by more than `phi` times the largest IoU that the box reaches
    with an anchor of that level.

    Args:
        boxes: as in `object_masks`.
        anchors: (H_l * W_l * A, 4) of each level, the A anchors of a cell together.
        sizes: (H_l, W_l) of each level.
    """
    masks = []
    for level_anchors, (height, width) in zip(anchors, sizes, strict=True):
        images = []
        for image_boxes in boxes:
            near = level_anchors.new_zeros(len(level_anchors), dtype=torch.bool)
            if len(image_boxes):
                overlaps = bbox_overlaps(level_anchors, image_boxes.float())
                near = (overlaps > phi * overlaps.max(dim=0).values).any(dim=1)
            images.append(near.view(height, width, -1).any(dim=-1).float())
        masks.append(torch.stack(images))
    return masks
