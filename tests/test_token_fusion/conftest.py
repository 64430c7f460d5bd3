"""Stored outputs of the official TokenFusion code."""

import numpy as np
import pytest
import torch


@pytest.fixture(scope='session')
def stored(golden):
    """Function: the arrays of a file as tensors, by its name."""
    def load(name):
        with np.load(golden / 'token_fusion' / f'{name}.npz') as arrays:
            return {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files}
    return load
