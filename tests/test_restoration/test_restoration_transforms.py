"""Transforms of the restoration task: pairs stay pairs, noise is fixed, sizes are checked."""

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose

from projects.restoration import (
    AddGaussianNoise,
    BicubicDownsample,
    CopyValues,
    Flip,
    LoadRestorationImage,
    ModCrop,
    PackInputs,
    PairedRandomCrop,
    RandomTransposeHW,
    SetValues,
    imresize,
)
from projects.runtime.errors import DataError


def pair(scale=3, height=10, width=14, extra=(0, 0)):
    """A pair in which every pixel of the truth names the input pixel that it belongs to."""
    img = np.arange(height * width * 3, dtype=np.float32).reshape(height, width, 3)
    gt = np.pad(img.repeat(scale, 0).repeat(scale, 1), ((0, extra[0]), (0, extra[1]), (0, 0)), constant_values=-1)
    return dict(img=img, gt=gt, scale=scale, key='a', img_path='LR/ax3.png', gt_path='HR/a.png')


def belong_together(results):
    return np.array_equal(results['img'].repeat(results['scale'], 0).repeat(results['scale'], 1), results['gt'])


@pytest.mark.parametrize('crop', [dict(gt_patch_size=15), dict(lq_patch_size=5)])
def test_augmented_pairs_stay_pairs(crop):
    np.random.seed(0)
    keys = ['img', 'gt']
    pipeline = Compose([PairedRandomCrop(**crop), Flip(keys), Flip(keys, direction='vertical'),
                        RandomTransposeHW(keys)])
    corners = set()
    for _ in range(60):
        results = pipeline(pair(extra=(2, 1)))
        assert results['img'].shape == (5, 5, 3) and belong_together(results)
        corners.add(results['img'][0, 0, 0])
    assert len(corners) > 20


def test_flips_and_transpose_do_what_they_are_called():
    image = np.arange(12).reshape(2, 2, 3)
    for transform, expected in ((Flip(['img'], 1), image[:, ::-1]), (Flip(['img'], 1, 'vertical'), image[::-1]),
                                (RandomTransposeHW(['img'], 1), image.transpose(1, 0, 2)), (Flip(['img'], 0), image)):
        assert np.array_equal(transform(dict(img=image))['img'], expected)


def test_mod_crop_cuts_from_the_top_left():
    assert belong_together(ModCrop()(pair(extra=(2, 2))))


@pytest.mark.parametrize('transform', [ModCrop(), PairedRandomCrop(lq_patch_size=2)])
@pytest.mark.parametrize('change', [dict(extra=(3, 0)), dict(scale=2), dict(scale=4)])
def test_sizes_that_do_not_match(transform, change):
    results = pair(extra=change.get('extra', (0, 0)))
    results['scale'] = change.get('scale', 3)
    height = 30 + change.get('extra', (0, 0))[0]
    with pytest.raises(DataError) as error:
        transform(results)
    for word in (f'HR/a.png has 42 x {height}', 'LR/ax3.png 14 x 10', f'scale {results["scale"]}'):
        assert word in str(error.value)


def test_patches_that_do_not_fit():
    with pytest.raises(DataError, match='LR/ax3.png: the input has 14 x 10 pixels, less than the patch of 11 x 11'):
        PairedRandomCrop(gt_patch_size=33)(pair())
    with pytest.raises(DataError, match='gt_patch_size=16 is no multiple of scale 3'):
        PairedRandomCrop(gt_patch_size=16)(pair())
    with pytest.raises(ValueError, match='exactly one'):
        PairedRandomCrop(gt_patch_size=16, lq_patch_size=8)


def test_input_made_by_matlabs_rule(tmp_path, write_image):
    """The truth is cut to a multiple of the scale first; the second epoch reads nothing and gives the same."""
    path = write_image(tmp_path / 'a.png', (25, 31))
    for use_cache in (False, True):
        pipeline = Compose([LoadRestorationImage('gt', use_cache), BicubicDownsample(use_cache=use_cache)])
        first, again = (pipeline(dict(gt_path=str(path), scale=3)) for _ in range(2))
        assert first['gt'].shape == (24, 30, 3) and first['ori_gt_shape'] == (25, 31, 3)
        assert first['img'].dtype == np.uint8
        assert np.array_equal(first['img'], imresize(first['gt'], 1 / 3)) and np.array_equal(first['img'], again['img'])
        assert (first['img'] is again['img']) is use_cache
    with pytest.raises(ValueError, match='read-only'):
        again['gt'][0] = 0  # the cached image cannot be spoilt


def test_released_low_resolution_files_are_made_again(shared):
    """Loading, mod-crop and downsampling give the files of the benchmark to the bit."""
    folder = shared / 'samples/sr/Set5'
    pipeline = Compose([LoadRestorationImage('gt'), BicubicDownsample()])
    load = LoadRestorationImage('img')
    for scale in (2, 3, 4):
        made = pipeline(dict(gt_path=str(folder / 'HR/woman.png'), scale=scale))
        released = load(dict(img_path=str(folder / f'LR_bicubic/X{scale}/womanx{scale}.png')))
        assert np.array_equal(made['img'], released['img'])


def noisy(name, folder='a', **kwargs):
    image = np.full((64, 64, 3), 128, np.uint8)
    results = dict(gt=image, key=name, gt_path=f'{folder}/{name}.png')
    return Compose([CopyValues(['gt'], ['img']), AddGaussianNoise(**kwargs)])(results)


def test_noise_for_testing_depends_on_the_name_alone():
    first = noisy('0001', sigma=25, seed=0)
    np.random.seed(123)
    noisy('0002', sigma=25, seed=0)
    again = noisy('0001', folder='elsewhere', sigma=25, seed=0)
    assert np.array_equal(first['img'], again['img']) and (first['gt'] == 128).all()
    for other in (noisy('0002', sigma=25, seed=0), noisy('0001', sigma=25, seed=1), noisy('0001', sigma=25)):
        assert not np.array_equal(first['img'], other['img'])
    noise = first['img'] - 128
    assert abs(noise.std() - 25) < 0.5 and abs(noise.mean()) < 0.5
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.05  # channels are independent


def test_noise_is_not_rounded_and_clipped_unless_told():
    noise = noisy('a', sigma=100, seed=0)['img']
    assert noise.min() == 0 and noise.max() == 255 and (noise % 1 != 0).any()
    assert noisy('a', sigma=100, seed=0, clip=False)['img'].min() < 0
    assert 10 <= noisy('a', sigma=(10, 20))['noise_sigma'] <= 20
    with pytest.raises(ValueError, match='sigma'):
        AddGaussianNoise(sigma=(20, 10))


def test_packing():
    results = SetValues(dict(scale=2))(pair(scale=2))
    del results['img_path']
    packed = PackInputs()(results)
    assert packed['inputs'].shape == (3, 10, 14)
    assert packed['inputs'].is_contiguous() and packed['inputs'].dtype == torch.float32
    assert packed['inputs'][1, 2, 3] == results['img'][2, 3, 1]
    sample = packed['data_samples']
    assert sample.gt_img.shape == (3, 20, 28) and (sample.img_path, sample.scale) == ('HR/a.png', 2)
    assert 'gt_img' not in PackInputs()(dict(img=results['img'], img_path='x'))['data_samples']


def test_pipeline_asks_for_an_image_that_the_set_does_not_have():
    with pytest.raises(DataError, match='data_prefix.img'):
        LoadRestorationImage('img')(dict(gt_path='a.png'))
