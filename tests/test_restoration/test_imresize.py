"""Bicubic resizing: MATLAB's images to the bit, and the identities of the kernel."""

import numpy as np
import pytest
import torch
from PIL import Image

from projects.restoration.imresize import imresize

BORDERS = {'sym': 'symmetric', 'rep': 'replicate'}
FACTORS = {f'{name}{s}': s if name == 'up' else 1 / s for name in ('down', 'up') for s in (2, 3, 4)}


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (23, 30, 3), dtype=np.uint8)


# ---- stored outputs of other implementations

@pytest.mark.parametrize('name', FACTORS)
def test_float_images_of_basicsr(golden, name):
    with np.load(golden / 'sr' / 'bicubic_float.npz') as stored:
        for k in range(3):
            result = imresize(stored[f'img{k}'], FACTORS[name])
            assert result.dtype == np.float32
            np.testing.assert_allclose(result, stored[f'img{k}_{name}'], rtol=0, atol=1e-5)


@pytest.mark.parametrize('border', BORDERS)
@pytest.mark.parametrize('name', FACTORS)
def test_uint8_images(golden, name, border):
    with np.load(golden / 'sr' / 'bicubic_uint8.npz') as stored:
        for k in range(2):
            image = stored[f'img{k}_upsrc'] if name.startswith('up') else mod_crop(stored[f'img{k}'], int(name[-1]))
            np.testing.assert_array_equal(imresize(image, FACTORS[name], border=BORDERS[border]),
                                          stored[f'img{k}_{name}_{border}'])


@pytest.mark.parametrize('folder, border', [('LR_bicubic', 'symmetric'), ('LR_bicubic_replicate', 'replicate')])
@pytest.mark.parametrize('scale', [2, 3, 4])
def test_released_set5_images_to_the_bit(shared, scale, folder, border):
    set5 = shared / 'samples' / 'sr' / 'Set5'
    files = sorted((set5 / 'HR').glob('*.png'))
    assert len(files) == 5
    for file in files:
        released = np.asarray(Image.open(set5 / folder / f'X{scale}' / f'{file.stem}x{scale}.png'))
        made = imresize(mod_crop(np.asarray(Image.open(file)), scale), 1 / scale, border=border)
        np.testing.assert_array_equal(made, released, err_msg=file.stem)


def mod_crop(image, scale):
    height, width = image.shape[:2]
    return image[:height - height % scale, :width - width % scale]


# ---- the kernel

def test_weights_of_halving():
    """Cubic with a = -0.5, stretched by two, at distances of 1/4, 3/4, 5/4 and 7/4."""
    line = np.zeros((1, 16))
    line[0, 7] = 1
    half = [-0.01171875, -0.03515625, 0.11328125, 0.43359375]
    expected = np.zeros(8)
    expected[2:6] = [half[1], half[3], half[2], half[0]]
    np.testing.assert_array_equal(imresize(line, size=(1, 8))[0], expected)


def test_weights_of_doubling():
    line = np.zeros((1, 9))
    line[0, 4] = 1
    half = [-0.0234375, -0.0703125, 0.2265625, 0.8671875]
    expected = np.zeros(18)
    expected[5:13] = half + half[::-1]
    np.testing.assert_array_equal(imresize(line, size=(1, 18))[0], expected)


@pytest.mark.parametrize('border', BORDERS.values())
@pytest.mark.parametrize('scale', [1 / 4, 0.37, 1, 1.7, 3])
def test_constant_images_stay_constant(scale, border):
    assert (imresize(np.full((9, 11), 173, np.uint8), scale, border=border) == 173).all()
    np.testing.assert_allclose(imresize(np.full((9, 11), 1e3), scale, border=border), 1e3, rtol=1e-14)


@pytest.mark.parametrize('scale', [1 / 4, 1 / 2, 2, 3])
def test_straight_lines_stay_straight_away_from_the_border(scale):
    """The centre of output pixel x lies at (x + 0.5) / scale - 0.5, counted from 0."""
    columns = imresize(np.tile(np.arange(60.), (4, 1)), size=(4, int(60 * scale)))
    margin = 3 * max(scale, 1)
    expected = (np.arange(columns.shape[1]) + 0.5) / scale - 0.5
    np.testing.assert_allclose(columns[0, margin:-margin], expected[margin:-margin], atol=1e-12)


def test_a_shift_by_the_scale_is_a_shift_by_one(noise):
    moved = np.roll(noise, 3, axis=1)
    np.testing.assert_array_equal(imresize(moved, 1 / 3)[:, 4:8], imresize(noise, 1 / 3)[:, 3:7])


def test_the_borders_differ_in_the_outer_two_pixels_only(noise):
    symmetric, replicate = imresize(noise, 1 / 2), imresize(noise, 1 / 2, border='replicate')
    assert (symmetric != replicate).any()
    np.testing.assert_array_equal(symmetric[2:-2, 2:-2], replicate[2:-2, 2:-2])


def test_mirroring_goes_on_where_the_kernel_is_wider_than_the_image():
    """Halving a mirrored line is mirrored; four pixels repeat with a period of eight."""
    line = np.array([[3., 1, 4, 1]])
    wide = np.concatenate([line, line[:, ::-1]] * 5, axis=1)
    np.testing.assert_allclose(imresize(line, size=(1, 1)), imresize(wide, size=(1, 10))[:, 4:5], atol=1e-12)


# ---- passes, rounding, layouts

def test_equal_factors_take_rows_first_and_round_in_between(noise):
    image = noise[:22]
    rows_first = imresize(imresize(image, size=(11, 30)), size=(11, 15))
    columns_first = imresize(imresize(image, size=(22, 15)), size=(11, 15))
    np.testing.assert_array_equal(imresize(image, 1 / 2), rows_first)
    assert (rows_first != columns_first).any()


def test_the_dimension_with_the_smaller_factor_comes_first(noise):
    size = (20, 10)
    turned = imresize(noise.swapaxes(0, 1).copy(), size=size[::-1])
    np.testing.assert_array_equal(turned.swapaxes(0, 1), imresize(noise, size=size))


def test_only_8_bit_images_are_rounded_and_clipped():
    edge = np.repeat([[0, 255]], 8, axis=1).repeat(4, axis=0)
    exact = imresize(edge.astype(np.float64), 2)
    assert exact.min() < -1 and exact.max() > 256
    assert np.array_equal(imresize(edge.astype(np.uint8), 2), np.floor(exact + 0.5).clip(0, 255))


def test_halves_are_rounded_up():
    assert imresize(np.array([[1, 2], [1, 2]], np.uint8), size=(2, 1)).tolist() == [[2], [2]]


@pytest.mark.parametrize('shape, scale, expected', [
    ((510, 342), 1 / 3, (170, 114)), ((13, 15), 1 / 4, (4, 4)), ((7, 5), 1.5, (11, 8))])
def test_sizes_are_rounded_up(shape, scale, expected):
    assert imresize(np.zeros(shape), scale).shape == expected


@pytest.mark.parametrize('dtype', ['uint8', 'float32', 'float64', 'float16'])
def test_arrays_and_tensors_give_the_same(noise, dtype):
    image = noise.astype(dtype)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    result = imresize(tensor, 1 / 2)
    assert result.dtype == tensor.dtype and result.shape == (3, 12, 15) and result.is_contiguous()
    expected = imresize(image, 1 / 2)
    assert expected.dtype == image.dtype
    np.testing.assert_array_equal(result.permute(1, 2, 0).numpy(), expected)
    np.testing.assert_array_equal(imresize(tensor[None, :, None], 1 / 2)[0, :, 0], result)
    np.testing.assert_array_equal(imresize(image[..., 1], 1 / 2), expected[..., 1])


def test_read_only_and_mirrored_arrays_are_taken_as_they_are(noise, recwarn):
    noise.setflags(write=False)
    np.testing.assert_array_equal(imresize(noise[::-1], 0.5, border='replicate'),
                                  imresize(noise[::-1].copy(), 0.5, border='replicate'))
    assert not recwarn.list


def test_gradients_flow_through_tensors():
    x = torch.rand(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: imresize(x, 0.5), x)


@pytest.mark.parametrize('image, options, error, message', [
    (np.zeros((4, 4)), dict(scale=2, border='reflect'), ValueError, "border='reflect', expected one of"),
    (np.zeros((4, 4)), {}, ValueError, 'give either scale or size'),
    (np.zeros((4, 4)), dict(scale=2, size=(8, 8)), ValueError, 'give either scale or size'),
    (np.zeros((4, 4)), dict(scale=0), ValueError, 'scale=0, expected a positive number'),
    (np.zeros((4, 4)), dict(scale=(2, 2)), ValueError, 'for a size in pixels pass size='),
    (np.zeros((4, 4)), dict(size=(2, 0.5)), ValueError, r'expected positive integers \(height, width\)'),
    (np.zeros((0, 4)), dict(scale=2), ValueError, 'the image is empty'),
    (np.zeros(4), dict(scale=2), ValueError, r'H x W x C, got shape \(4,\)'),
    (torch.zeros(4), dict(scale=2), ValueError, r'\(\.\.\., H, W\), got shape \(4,\)'),
    (np.zeros((4, 4), np.uint16), dict(scale=2), TypeError, 'uint8 or floating point, got torch.uint16'),
    ([[1.0]], dict(scale=2), TypeError, 'an array or a tensor, got list'),
])
def test_wrong_arguments_are_named(image, options, error, message):
    with pytest.raises(error, match=message):
        imresize(image, **options)
