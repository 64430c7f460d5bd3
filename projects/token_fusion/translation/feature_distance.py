"""Distances between two sets of features: Frechet distance (arXiv 1706.08500) and kernel distance (arXiv 1801.01401).

Everything is float64: the matrices are close to singular.
"""

from __future__ import annotations

import numpy as np

KERNEL_DEGREE = 3


def _root(matrix: np.ndarray) -> np.ndarray:
    """Square root of a symmetric matrix without negative eigenvalues but by rounding."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """|m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)) of features (N, D) and (N', D); covariances with N - 1.

    The trace of the root is taken from the eigenvalues of C1^(1/2) C2 C1^(1/2), which are those of C1 C2 and real, so
    that nothing needs to be added to the diagonal of a singular matrix.

    Raises:
        ValueError: fewer than two samples in a set.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(f'{len(first)} and {len(second)} samples: a covariance needs 2 in each set')
    first, second = (np.asarray(features, np.float64) for features in (first, second))
    covariances = [np.cov(features, rowvar=False) for features in (first, second)]
    root = _root(covariances[0])
    cross = np.sqrt(np.linalg.eigvalsh(root @ covariances[1] @ root).clip(0)).sum()
    shift = first.mean(0) - second.mean(0)
    return float(shift @ shift + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * cross)


def kernel_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy of (N, D) and (N', D), with the kernel (<x, y> / D + 1)^3.

    Raises:
        ValueError: fewer than two samples in a set.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(f'{len(first)} and {len(second)} samples: the unbiased estimate needs 2 in each set')
    first, second = (np.asarray(features, np.float64) for features in (first, second))

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** KERNEL_DEGREE

    def within(a: np.ndarray) -> float:
        gram = kernel(a, a)
        return (gram.sum() - np.trace(gram)) / (len(a) * (len(a) - 1))

    return float(within(first) + within(second) - 2 * kernel(first, second).mean())


def kernel_distance_of_subsets(first: np.ndarray, second: np.ndarray, subsets: int, size: int, seed: int) -> float:
    """Mean of ``kernel_distance`` over random subsets, drawn without replacement.

    Where a subset would be a whole set, as with 500 images and the official size of 1,000, one evaluation is the mean.

    Args:
        first, second: (N, D), (N', D).
        subsets, size: Number and largest size of subsets.
        seed: Of the draws.
    """
    count = min(size, len(first), len(second))
    if count == len(first) == len(second):
        return kernel_distance(first, second)
    rng = np.random.default_rng(seed)
    return float(np.mean([kernel_distance(*(features[rng.choice(len(features), count, replace=False)]
                                            for features in (first, second))) for _ in range(subsets)]))
