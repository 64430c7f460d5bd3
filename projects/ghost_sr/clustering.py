"""Which filters of a dense layer stay when it becomes a ghost layer (arXiv 2101.08525): k-means of the filters.

The filter nearest to each centre becomes an intrinsic one. Inferred: a ghost map takes the place of a filter that is
dropped and shifts the intrinsic map of that filter's own cluster; k-means++, 10 restarts, a fixed seed; the filters of
a grouped convolution are clustered within their group.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch


@dataclass
class FilterChoice:
    """What becomes of the C filters of a dense layer.

    Attributes:
        intrinsic (Tensor): (I,), indices of the filters that stay, rising.
        source_index (Tensor): (C - I,); for each dropped filter, in rising order, the place in `intrinsic` of the one
            that stands for it.
        output_index (Tensor): (C,); the place of each output in (intrinsic, dropped).
    """

    intrinsic: torch.Tensor
    source_index: torch.Tensor
    output_index: torch.Tensor


def _cluster(filters, count, seed):
    """Indices of `count` representatives of filters (C, D), and for each filter the index of its representative."""
    try:
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning
    except ImportError as error:
        raise ImportError('choosing filters needs scikit-learn: pip install scikit-learn') from error
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ConvergenceWarning)  # fewer distinct filters than clusters; filled up below
        means = KMeans(count, init='k-means++', n_init=10, random_state=seed).fit(filters)
    distance = np.linalg.norm(filters - means.cluster_centers_[means.labels_], axis=1)
    owner = np.empty(len(filters), dtype=int)
    for label in set(means.labels_):
        members = np.flatnonzero(means.labels_ == label)
        owner[members] = members[distance[members].argmin()]
    # a cluster may be empty where filters are equal: the filters farthest from their centres stay as well
    spare = [i for i in distance.argsort(kind='stable')[::-1] if owner[i] != i]
    for index in spare[:count - len(set(owner))]:
        owner[index] = index
    return owner


def choose_filters(weight, count, groups=1, seed=0):
    """Choose the intrinsic filters of a layer.

    Args:
        weight (Tensor): (C, D, k, k), the dense filters.
        count (int): Filters to keep, a multiple of `groups`.
        groups (int): Of the convolution.
        seed (int): Of k-means.

    Returns:
        FilterChoice: The choice. With `count` = C everything stays in its place.
    """
    total = len(weight)
    if count == total:
        owner = np.arange(total)
    else:
        filters = weight.detach().double().cpu().reshape(groups, total // groups, -1).numpy()
        owner = np.concatenate([_cluster(part, count // groups, seed) + i * (total // groups)
                                for i, part in enumerate(filters)])
    stays = owner == np.arange(total)
    intrinsic, dropped = np.flatnonzero(stays), np.flatnonzero(~stays)
    source = np.searchsorted(intrinsic, owner[dropped])
    output = np.argsort(np.concatenate([intrinsic, dropped]))
    return FilterChoice(*map(torch.from_numpy, (intrinsic, source, output)))
