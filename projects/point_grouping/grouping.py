"""Hierarchical point grouping: points that vote for one place become groups, near groups larger groups, and so on.

After "MaskGroup: Hierarchical Point Grouping and Masking for 3D Instance Segmentation" (arXiv 2203.14662). Its body was
not at hand and no code was released; the abstract says that points are grouped into small clusters, these step by step
into larger ones, and that the groups of all levels are candidates. All else is [inferred]:

- the first level is PointGroup's clustering (arXiv 2004.01658) of shifted points, without its cap of 1000 neighbours;
- a level links groups whose centroids are near each other. ``merge_on='points'`` is the other reading: single linkage
  of points at growing radii;
- the radii. 3 cm is PointGroup's, 10 cm mends what noisy votes tear apart, 30 cm is the extent of the smallest class;
- groups of too few points are no candidates, but may become part of one.
"""

from collections.abc import Sequence

import numpy as np
import torch
from mmdet3d.registry import MODELS
from torch import nn

from projects.points3d import connected_components

from .proposals import Proposals

MERGES = ('centroid', 'points')
CAPS = ('levels', 'random')


@MODELS.register_module()
class HierarchicalPointGrouping(nn.Module):
    """Groups of foreground points of one predicted class, at several levels; no parameters, no gradients.

    Args:
        radii (sequence of float): distances in metres below which points, then groups, are linked; rising, one for
            each level.
        min_npoint (int): points that a candidate has at least.
        use_original_coords (bool): add the groups of unshifted points at the first radius, as PointGroup does.
        merge_on (str): 'centroid' or 'points', see the module.
        stuff_classes (sequence of int): classes that are not grouped.
        dedup (bool): list a group that did not change from one level to the next once, at the lower level.
        max_train_proposals (int, optional): most candidates of a batch in training mode; 200 in HAIS and SoftGroup.
            None: no limit.
        cap_by (str): which ones stay: 'levels': an equal share of each level, 'random': any. Both draw at random
            [inferred]; HAIS keeps the first, which are those at the beginning of the scan's point list.

    Raises:
        ValueError: radii that do not rise, or an unknown option.
    """

    def __init__(self, radii: Sequence[float] = (0.03, 0.1, 0.3), min_npoint: int = 50,
                 use_original_coords: bool = False, merge_on: str = 'centroid', stuff_classes: Sequence[int] = (0, 1),
                 dedup: bool = True, max_train_proposals: int | None = 200, cap_by: str = 'levels') -> None:
        super().__init__()
        radii = tuple(float(radius) for radius in radii)
        if not radii or radii[0] <= 0 or any(b <= a for a, b in zip(radii, radii[1:], strict=False)):
            raise ValueError(f'grouping.radii={radii}, expected at least one, in metres, positive and rising')
        if merge_on not in MERGES or cap_by not in CAPS:
            raise ValueError(f'grouping.merge_on={merge_on!r}, cap_by={cap_by!r}; expected one of {MERGES} and of '
                             f'{CAPS}')
        if min_npoint < 1 or (max_train_proposals is not None and max_train_proposals < 1):
            raise ValueError(f'grouping.min_npoint={min_npoint}, max_train_proposals={max_train_proposals}; expected '
                             'at least 1')
        self.radii, self.min_npoint, self.use_original_coords = radii, min_npoint, use_original_coords
        self.merge_on, self.stuff_classes, self.dedup = merge_on, tuple(stuff_classes), dedup
        self.max_train_proposals, self.cap_by = max_train_proposals, cap_by

    def extra_repr(self) -> str:
        return f'radii={self.radii}, min_npoint={self.min_npoint}, merge_on={self.merge_on!r}'

    @torch.no_grad()
    def forward(self, coords: torch.Tensor, offsets: torch.Tensor, labels: torch.Tensor,
                batch: torch.Tensor | None = None) -> Proposals:
        """Group the points of a batch.

        Args:
            coords: (N, 3), metres.
            offsets: (N, 3), metres, from each point to the predicted centre of its instance.
            labels: (N,) int64, predicted classes; negative ones are not grouped.
            batch: (N,) int64, batch item of each point. Default: one item.

        Returns:
            Proposals: level by level, within a level by lowest point index; then those of unshifted points. In
            training mode at most `max_train_proposals`, in this order.

        Raises:
            ValueError: coordinates or offsets that are not finite.
        """
        batch = torch.zeros_like(labels) if batch is None else batch
        stuff = torch.tensor(self.stuff_classes, dtype=labels.dtype, device=labels.device)
        points = (~torch.isin(labels, stuff) & (labels >= 0)).nonzero()[:, 0]
        own_labels, own_batch = labels[points], batch[points]
        plain = coords[points].float()
        shifted = plain + offsets[points].float()
        parts = []
        for level, (groups, is_new) in enumerate(self._levels(shifted, own_batch, own_labels)):
            parts.append((level, *self._members(groups, is_new)))
        if self.use_original_coords:
            groups = connected_components(plain, self.radii[0], own_batch, own_labels).cpu().numpy()
            parts.append((-1, *self._members(groups, None)))
        proposals = self._assemble(parts, points, own_labels, own_batch)
        if self.training and self.max_train_proposals is not None and len(proposals) > self.max_train_proposals:
            proposals = proposals.select(self._draw(proposals.levels))
        return proposals

    def _levels(self, shifted, batch, labels):
        """For each level, the group of each point, (n,) int64, and which of the groups are new, bool or None for all.

        Groups are numbered by their lowest point.
        """
        groups = connected_components(shifted, self.radii[0], batch, labels).cpu().numpy()
        yield groups, None
        positions = shifted.cpu().double().numpy()
        for radius in self.radii[1:]:
            if self.merge_on == 'points':
                larger = connected_components(shifted, radius, batch, labels).cpu().numpy()
                # all points of a smaller group are in one larger group
                parents = np.zeros(int(groups.max(initial=-1)) + 1, np.int64)
                parents[groups] = larger
            else:
                parents = self._linked_centroids(positions, groups, radius, batch, labels)
            is_new = np.bincount(parents) > 1 if self.dedup else None
            groups = parents[groups]
            yield groups, is_new

    @staticmethod
    def _linked_centroids(positions, groups, radius, batch, labels):
        """The larger group of each group, (groups,) int64."""
        counts = np.bincount(groups)
        centroids = np.stack([np.bincount(groups, axis) for axis in positions.T], 1) / counts[:, None]
        member = np.zeros(len(counts), np.int64)
        member[groups] = np.arange(len(groups))  # any point of the group: they agree on class and batch item
        member = torch.from_numpy(member).to(labels.device)
        return connected_components(torch.from_numpy(centroids).reshape(-1, 3), radius, batch[member].cpu(),
                                    labels[member].cpu()).numpy()

    def _members(self, groups, is_new):
        """Points of all candidates of a level, one after the other, and the sizes of the candidates."""
        sizes = np.bincount(groups) if len(groups) else np.zeros(0, np.int64)
        chosen = sizes >= self.min_npoint
        if is_new is not None:
            chosen &= is_new
        inside = np.flatnonzero(chosen[groups])
        return inside[np.argsort(groups[inside], kind='stable')], sizes[chosen]

    @staticmethod
    def _assemble(parts, points, labels, batch):
        levels = np.concatenate([np.full(len(sizes), level, np.int64) for level, _, sizes in parts])
        sizes = np.concatenate([sizes for _, _, sizes in parts]).astype(np.int64)
        offsets = np.append(0, sizes.cumsum())
        numbers = np.repeat(np.arange(len(sizes)), sizes)
        members, numbers, offsets, levels = (
            torch.from_numpy(array).to(points.device)
            for array in (np.concatenate([members for _, members, _ in parts]), numbers, offsets, levels))
        first = members[offsets[:-1]]
        return Proposals(torch.stack([numbers, points[members]], 1), offsets, labels[first], batch[first], levels)

    def _draw(self, levels):
        """Indices of the candidates that stay in training, rising; drawn by torch's generator of the CPU."""
        levels = levels.cpu()
        rank = torch.rand(len(levels)).argsort()
        if self.cap_by == 'levels':
            # the first draw of each level, then the second draws...: levels with few candidates keep all of them
            turn = torch.empty_like(rank)
            for level in levels.unique():
                own = rank[levels[rank] == level]
                turn[own] = torch.arange(len(own))
            rank = rank[turn[rank].argsort(stable=True)]
        return rank[:self.max_train_proposals].sort().values.to(levels.device)
