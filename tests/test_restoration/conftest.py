"""A small mini restoration set, and images as files."""

import cv2
import numpy as np
import pytest


@pytest.fixture(scope='session')
def sr_root(load_tool, tmp_path_factory):
    """A data root whose `mini_sr/` holds 4 training pictures of 72 x 72 pixels and two test sets of 3."""
    folder = tmp_path_factory.mktemp('sr_data')
    load_tool('dataset_converters/make_mini_restoration.py').generate(folder / 'mini_sr', train=4, test=3, size=72)
    return folder


@pytest.fixture
def write_image():
    """Function: write an image of a size (height, width), or an array as OpenCV orders its channels; the path."""
    def write(path, image, seed=0):
        if isinstance(image, tuple):
            image = np.random.default_rng(seed).integers(0, 256, (*image, 3), dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), image)
        return path
    return write
