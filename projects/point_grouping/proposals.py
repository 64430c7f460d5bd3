"""Proposals of a grouping, and what they are compared with: instances of the ground truth, and each other.

Formulas follow the official code of PointGroup (arXiv 2004.01658) for IoU, score targets and NMS, and of HAIS
(arXiv 2108.02350) for mask labels and for IoU on masks.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse import csr_matrix

EPS = 1e-5
"""Added to the union, as in the official code."""


@dataclass
class Proposals:
    """Groups of points; a point may be in several.

    Attributes:
        idx (Tensor): (S, 2) int64, rows [proposal, point]; proposals ascend, and the points within each.
        offsets (Tensor): (P + 1,) int64; rows offsets[k] to offsets[k + 1] are those of proposal k.
        labels (Tensor): (P,) int64, class of each proposal; all its points were predicted as this class.
        batch (Tensor): (P,) int64, batch item of each proposal.
        levels (Tensor): (P,) int64, level of the hierarchy; -1 for groups of unshifted points.
    """

    idx: torch.Tensor
    offsets: torch.Tensor
    labels: torch.Tensor
    batch: torch.Tensor
    levels: torch.Tensor

    def __len__(self):
        return len(self.labels)

    @property
    def sizes(self):
        """Points of each proposal, (P,)."""
        return self.offsets.diff()

    def select(self, keep):
        """The proposals at the indices `keep`, in this order, numbered anew.

        Args:
            keep (Tensor): (K,) int64.
        """
        sizes = self.sizes[keep]
        offsets = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        numbers = torch.repeat_interleave(torch.arange(len(keep), device=keep.device), sizes)
        rows = torch.arange(len(numbers), device=keep.device) - offsets[numbers] + self.offsets[keep][numbers]
        return Proposals(torch.stack([numbers, self.idx[rows, 1]], 1), offsets, self.labels[keep], self.batch[keep],
                         self.levels[keep])

    def refine(self, rows):
        """The proposals with some of their points; those that lose all of them stay, empty.

        Args:
            rows (Tensor): (S,) bool, which rows to keep.
        """
        sizes = torch.bincount(self.idx[rows, 0], minlength=len(self))
        return replace(self, idx=self.idx[rows], offsets=torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]))

    def masks(self, first, last):
        """Dense masks over the points first to last - 1: (P, last - first) bool."""
        masks = torch.zeros(len(self), last - first, dtype=torch.bool, device=self.idx.device)
        masks[self.idx[:, 0], self.idx[:, 1] - first] = True
        return masks


def instance_ious(proposals, instances, sizes, rows=None):
    """IoU of proposals with instances.

    Args:
        proposals (Proposals): P proposals.
        instances (Tensor): (N,) number of each point's instance, 0 to G - 1 over the whole batch; negative for none.
        sizes (Tensor): (G,) points of each instance.
        rows (Tensor, optional): (S,) bool, the points of the proposals that count, for instance those of their masks.

    Returns:
        Tensor: (P, G) float32, |intersection| / (|proposal| + |instance| - |intersection| + 1e-5).
    """
    if rows is not None:
        proposals = proposals.refine(rows)
    count, total = len(sizes), len(proposals)
    owner = instances[proposals.idx[:, 1]]
    inside = owner >= 0
    pairs = proposals.idx[inside, 0] * count + owner[inside]
    common = torch.bincount(pairs, minlength=total * count).view(total, count).float()
    union = proposals.sizes[:, None] + sizes[None] - common
    return common / (union + EPS)


def best_instances(ious):
    """Highest IoU of each proposal and its instance: (P,) float and (P,) int64; 0 and -1 without instances."""
    if not ious.shape[1]:
        return ious.new_zeros(len(ious)), torch.full((len(ious),), -1, dtype=torch.int64, device=ious.device)
    best = ious.max(1)
    return best.values, best.indices


def mask_labels(proposals, instances, ious, threshold=0.5):
    """Which points of each proposal belong to its best instance.

    Args:
        proposals, instances: see :func:`instance_ious`.
        ious (Tensor): (P, G).
        threshold (float): proposals with no IoU above it are ignored.

    Returns:
        Tensor: (S,) float32, a row of `proposals.idx` each: 1, 0, or -1 where ignored.
    """
    highest, best = best_instances(ious)
    number, point = proposals.idx.unbind(1)
    labels = (instances[point] == best[number]).float()
    return labels.masked_fill(highest[number] <= threshold, -1)


def score_targets(ious, low=0.25, high=0.75):
    """What a proposal's score should be: 0 up to an IoU of `low`, 1 from `high` on, linear in between.

    PointGroup has 0.25 and 0.75. Low 0 and high 1 are HAIS's plain IoU, but for two 1e-5 in its denominators.

    Args:
        ious (Tensor): highest IoU of each proposal, any shape.

    Returns:
        Tensor: of this shape.
    """
    return ((ious - low) / (high - low)).clamp(0, 1)


def pairwise_ious(proposals):
    """IoU of the point sets of proposals: (P, P) float32 on the CPU; 0 for two empty ones."""
    number, point = proposals.idx.cpu().numpy().T
    points = int(point.max(initial=-1)) + 1
    members = csr_matrix((np.ones(len(number), np.float32), (number, point)), shape=(len(proposals), points))
    common = (members @ members.T).toarray()
    sizes = proposals.sizes.cpu().numpy()
    union = np.maximum(sizes[:, None] + sizes[None] - common, 1)
    return torch.from_numpy((common / union).astype(np.float32))


def mask_nms(ious, scores, threshold=0.3):
    """Greedy suppression: a mask goes if its IoU with a better one that stays is above the threshold.

    Args:
        ious (Tensor): (P, P).
        scores (Tensor): (P,); of equal scores the first comes first.
        threshold (float): strict.

    Returns:
        Tensor: (K,) int64 on the CPU, indices of the masks that stay, best first.
    """
    ious = ious.cpu().numpy()
    order = scores.detach().cpu().argsort(descending=True, stable=True).numpy()
    kept = []
    while len(order):
        kept.append(int(order[0]))
        order = order[1:][ious[order[0], order[1:]] <= threshold]
    return torch.tensor(kept, dtype=torch.int64)
