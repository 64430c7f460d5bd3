"""Small sparse tensors, and the given outputs of official code as torch tensors."""

import numpy as np
import pytest
import torch

from projects.points3d import SparseTensor


@pytest.fixture(scope='session')
def points3d_golden(golden):
    """Function: a stored archive of the set `points3d`, by its name, as a dict of tensors."""
    def load(name):
        with np.load(golden / 'points3d' / f'{name}.npz') as archive:
            return {key: torch.from_numpy(archive[key]) for key in archive.files}
    return load


@pytest.fixture
def make_sparse():
    """Function: random voxels in the given shapes; batch item 1 of 3 has none unless told otherwise."""
    def make(shape=(7, 6, 5), count=60, channels=3, items=(0, 2), batch_size=3, dtype=torch.float64, seed=0):
        generator = torch.Generator().manual_seed(seed)
        cells = torch.cartesian_prod(torch.tensor(items), *(torch.arange(size) for size in shape))
        indices = cells[torch.randperm(len(cells), generator=generator)[:count]]
        features = torch.randn(len(indices), channels, generator=generator, dtype=dtype)
        return SparseTensor(features, indices, shape, batch_size)
    return make


@pytest.fixture
def with_threads():
    """Function: the result of a call with so many threads; the number is restored."""
    before = torch.get_num_threads()

    def call(count, function):
        torch.set_num_threads(count)
        try:
            return function()
        finally:
            torch.set_num_threads(before)
    yield call
    torch.set_num_threads(before)
