"""Colour conversion, PSNR and SSIM: stored numbers, published tables, and the formulas by hand."""

import numpy as np
import pytest
import torch
from PIL import Image

from projects.restoration.colour import rgb2ycbcr, ycbcr2rgb
from projects.restoration.imresize import imresize
from projects.restoration.quality import psnr, ssim

# RCAN's released images of Set5 (baby, bird, butterfly, head, woman), luma, border = scale; published means
# 38.27/0.9614, 34.74/0.9299, 32.63/0.9002. Then the means on RGB.
RCAN = {
    2: ([38.9800, 43.6398, 36.0588, 36.0752, 36.6170], [.96818, .99090, .98031, .89238, .97544], 36.0701, .94497),
    3: ([35.8031, 38.7945, 31.8124, 34.2381, 33.0627], [.93126, .97473, .95639, .83917, .94788], 32.7296, .90628),
    4: ([33.9482, 35.9048, 29.3593, 33.0103, 30.9451], [.89624, .95175, .93427, .79906, .91989], 30.7027, .87113)}
# Bicubic down and up with MATLAB's 8-bit rule, luma, border = scale; published 33.66/0.9299 and so on.
BICUBIC = {
    ('Set5', 2): (33.6734, .9303), ('Set5', 3): (30.4033, .8689), ('Set5', 4): (28.4290, .8111),
    ('Set14', 2): (30.2302, .8691), ('Set14', 3): (27.5367, .7745), ('Set14', 4): (25.9940, .7029)}


@pytest.fixture
def pair():
    rng = np.random.default_rng(1)
    gt = rng.integers(0, 256, (31, 40, 3))
    return (gt + rng.integers(-20, 21, gt.shape)).clip(0, 255).astype(np.uint8), gt.astype(np.uint8)


def read(path):
    return np.asarray(Image.open(path))


# ---- colour

def test_stored_colours(golden):
    with np.load(golden / 'sr' / 'rgb2ycbcr.npz') as stored:
        rgb = stored['rgb_u8']
        np.testing.assert_array_equal(rgb2ycbcr(rgb).round(), stored['ycbcr_u8'])
        np.testing.assert_allclose(rgb2ycbcr(rgb) / 255, stored['ycbcr_f32'], atol=1e-6)
        y = rgb2ycbcr(rgb, y_only=True)
        np.testing.assert_array_equal(y.round(), stored['y_u8'])
        np.testing.assert_allclose(y, stored['y_255_f32'], atol=1e-4)
        # The stored numbers wrap around where YCbCr lies outside of the RGB cube.
        np.testing.assert_array_equal(ycbcr2rgb(stored['ycbcr_u8']).round() % 256, stored['back_rgb_u8'])


def test_black_white_and_grey():
    for grey, y in ((0, 16), (255, 235), (100, 16 + 219 * 100 / 255)):
        np.testing.assert_allclose(rgb2ycbcr(np.full((1, 1, 3), grey))[0, 0], [y, 128, 128], atol=1e-12)


def test_there_and_back(pair):
    np.testing.assert_allclose(ycbcr2rgb(rgb2ycbcr(pair[0])), pair[0], atol=1e-10)


def test_tensors_have_their_channels_in_front(pair):
    tensor = torch.from_numpy(pair[0]).permute(2, 0, 1)[None]
    full, y = rgb2ycbcr(tensor), rgb2ycbcr(tensor, y_only=True)
    assert full.dtype == torch.float32 and y.shape == (1, 1, 31, 40)
    np.testing.assert_allclose(full[0].permute(1, 2, 0), rgb2ycbcr(pair[0]), atol=1e-4)
    torch.testing.assert_close(y, full[:, :1])
    torch.testing.assert_close(ycbcr2rgb(full), tensor.float(), atol=1e-3, rtol=0)


@pytest.mark.parametrize('img', [np.zeros((3, 4, 4)), np.zeros((4, 3)), torch.zeros(4, 4, 3)])
def test_images_without_three_colours_are_refused(img):
    with pytest.raises(ValueError, match=r'expected an array \(H, W, 3\) or a tensor \(\.\.\., 3, H, W\)'):
        rgb2ycbcr(img)


# ---- stored and published scores

@pytest.mark.parametrize('convert_to', ['Y', None])
@pytest.mark.parametrize('border', [0, 2, 3, 4])
def test_stored_scores(golden, border, convert_to):
    kind = 'y' if convert_to else 'rgb'
    options = dict(crop_border=border, convert_to=convert_to)
    with np.load(golden / 'sr' / 'psnr_ssim.npz') as stored:
        for k in (0, 1):
            images = stored[f'sr{k}'], stored[f'gt{k}']
            assert psnr(*images, **options) == pytest.approx(float(stored[f'psnr_{kind}{k}_cb{border}']), abs=1e-4)
            assert ssim(*images, **options) == pytest.approx(float(stored[f'ssim_{kind}{k}_cb{border}']), abs=1e-5)


@pytest.mark.parametrize('scale', [1, 2, 3, 4])
def test_psnr_of_the_ipt_code(golden, scale):
    """It cuts off the scale, but nothing for denoising and deraining (scale 1)."""
    with np.load(golden / 'sr' / 'psnr_ssim.npz') as stored:
        for k in (0, 1):
            for kind, convert_to in (('y', 'Y'), ('rgb', None)):
                value = psnr(stored[f'sr{k}'], stored[f'gt{k}'], crop_border=scale if scale > 1 else 0,
                             convert_to=convert_to)
                assert value == pytest.approx(float(stored[f'ipt_psnr_{kind}{k}_scale{scale}']), abs=1e-4)


@pytest.mark.parametrize('scale', RCAN)
def test_rcan_on_set5(shared, scale):
    set5 = shared / 'samples' / 'sr' / 'Set5'
    scores = []
    for name in ('baby', 'bird', 'butterfly', 'head', 'woman'):
        pred = read(set5 / 'SR_RCAN' / f'X{scale}' / f'{name}x{scale}.png')
        gt = read(set5 / 'HR' / f'{name}.png')[:pred.shape[0], :pred.shape[1]]
        scores.append([measure(pred, gt, crop_border=scale, convert_to=convert_to)
                       for convert_to in ('Y', None) for measure in (psnr, ssim)])
    psnr_y, ssim_y, psnr_rgb, ssim_rgb = np.array(scores).T
    np.testing.assert_allclose(psnr_y, RCAN[scale][0], atol=1e-4)
    np.testing.assert_allclose(ssim_y, RCAN[scale][1], atol=1e-5)
    assert psnr_y.mean() == pytest.approx({2: 38.2742, 3: 34.7422, 4: 32.6336}[scale], abs=1e-4)
    assert ssim_y.mean() == pytest.approx({2: .96144, 3: .92989, 4: .90024}[scale], abs=1e-5)
    assert psnr_rgb.mean() == pytest.approx(RCAN[scale][2], abs=1e-4)
    assert ssim_rgb.mean() == pytest.approx(RCAN[scale][3], abs=1e-5)


@pytest.mark.parametrize('name, scale', BICUBIC)
def test_bicubic_rows(shared, name, scale):
    """Set14's `bridge` is grey and compared as it is."""
    folder = shared / 'data' / 'sr' / 'Set5' / f'HR_x{scale}'
    if name == 'Set14':
        folder = shared / 'samples' / 'sr' / 'Set14' / 'HR'
    scores = []
    for file in sorted(folder.glob('*.png')):
        gt = read(file)
        gt = gt[:gt.shape[0] // scale * scale, :gt.shape[1] // scale * scale]
        pred = imresize(imresize(gt, 1 / scale), scale)
        scores.append([measure(pred, gt, crop_border=scale, convert_to='Y') for measure in (psnr, ssim)])
    np.testing.assert_allclose(np.mean(scores, axis=0), BICUBIC[name, scale], atol=1e-4)


# ---- formulas

def test_psnr_of_a_constant_difference(pair):
    gt = pair[1] // 2
    for difference in (1, 10):
        decibels = 20 * np.log10(255 / difference)
        assert psnr(gt + np.uint8(difference), gt) == pytest.approx(decibels, abs=1e-12)
        on_luma = psnr(gt + np.uint8(difference), gt, convert_to='Y')
        assert on_luma == pytest.approx(decibels + 20 * np.log10(255 / 219), abs=1e-9)
        assert psnr(gt[..., 0] + difference, gt[..., 0], convert_to='Y') == pytest.approx(decibels, abs=1e-12)


def test_ssim_of_constant_images():
    a, b, c = 50.0, 90.0, (0.01 * 255) ** 2
    images = np.full((12, 13, 3), a), np.full((12, 13, 3), b)
    assert ssim(*images) == pytest.approx((2 * a * b + c) / (a * a + b * b + c), abs=1e-9)


def test_equal_images(pair):
    for convert_to in ('Y', None):
        assert psnr(pair[0], pair[0], convert_to=convert_to) == float('inf')
        assert ssim(pair[0], pair[0], convert_to=convert_to) == 1


def test_no_wrap_around_and_no_order(pair):
    """uint8 images are subtracted as numbers; both measures are symmetric."""
    for measure in (psnr, ssim):
        value = measure(*pair)
        assert value == pytest.approx(measure(*(image.astype(float) for image in pair)), abs=1e-12)
        assert value == pytest.approx(measure(*pair[::-1]), abs=1e-12)


def test_the_border_does_not_count(pair):
    pred, gt = pair[0].copy(), pair[1]
    pred[:3] = pred[-3:] = pred[:, :3] = pred[:, -3:] = 255
    for measure in (psnr, ssim):
        assert measure(pred, gt, crop_border=3) == measure(*pair, crop_border=3) != measure(*pair)
        assert measure(pred, gt, crop_border=3) == measure(pred[3:-3, 3:-3], gt[3:-3, 3:-3])


def test_ssim_of_scikit_image_with_the_same_window(pair):
    metrics = pytest.importorskip('skimage.metrics')
    expected = metrics.structural_similarity(*pair, gaussian_weights=True, sigma=1.5, data_range=255,
                                             use_sample_covariance=False, channel_axis=2)
    assert ssim(*pair) == pytest.approx(expected, abs=1e-12)


def test_not_a_number_is_passed_on(pair):
    pred = pair[0].astype(float)
    pred[15, 15] = np.nan
    assert np.isnan(psnr(pred, pair[1])) and np.isnan(ssim(pred, pair[1], convert_to='Y'))


@pytest.mark.parametrize('pred, gt, options, message', [
    ((20, 20, 3), (20, 21, 3), {}, r'differ in shape: \(20, 20, 3\) and \(20, 21, 3\)'),
    ((3, 20, 20), (3, 20, 20), {}, r'expected images H x W x 3 .*, got shape \(3, 20, 20\)'),
    ((20, 20, 3), (20, 20, 3), dict(convert_to='y'), "convert_to='y', expected 'Y' or None"),
    ((20, 20, 3), (20, 20, 3), dict(crop_border=-1), 'crop_border=-1'),
    ((20, 30, 3), (20, 30, 3), dict(crop_border=10), '20 x 30 pixels .* without a border of 10'),
])
@pytest.mark.parametrize('measure', [psnr, ssim])
def test_images_that_cannot_be_compared(measure, pred, gt, options, message):
    with pytest.raises(ValueError, match=message):
        measure(np.zeros(pred), np.zeros(gt), **options)


def test_ssim_needs_eleven_pixels():
    image = np.zeros((13, 13, 3))
    assert ssim(image, image, crop_border=1) == 1
    with pytest.raises(ValueError, match='leaves less than 11 x 11 without a border of 2'):
        ssim(image, image, crop_border=2)
