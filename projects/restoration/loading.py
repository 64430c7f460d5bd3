"""Transforms that bring images into a sample: from files, by downsampling, by copying, by adding noise.

Names follow mmagic where it has the transform. `results['img']` is the input, `results['gt']` the truth, both H x W x 3
RGB. `LoadRestorationImage` is mmagic's `LoadImageFromFile`, a name that mmcv's transform holds in the root registry.
"""

import zlib

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from projects.runtime.errors import DataError

from .image_files import read_image_and_kind
from .imresize import imresize


@TRANSFORMS.register_module()
class LoadRestorationImage(BaseTransform):
    """Read `results['{key}_path']` as H x W x 3 RGB, uint8.

    Adds `{key}`, `ori_{key}_shape` (H, W, 3) and `{key}_is_grey`, whether the file has one channel. What happens to
    grey, transparent and 16-bit files is said at :func:`..image_files.read_image`.

    Args:
        key (str): 'img' or 'gt'.
        use_cache (bool): Keep decoded images in memory (of each worker process); for small sets.
        backend_args (dict, optional): Of mmengine's storage backend.

    Raises:
        DataError: the file cannot be used, or the data set gives no such path.
    """

    def __init__(self, key='img', use_cache=False, backend_args=None):
        self.key, self.backend_args = key, backend_args
        self.cache = {} if use_cache else None

    def transform(self, results):
        path = results.get(f'{self.key}_path')
        if path is None:
            raise DataError(f'LoadRestorationImage(key={self.key!r}): the data set names no such image; set '
                            f'data_prefix.{self.key}, or let BicubicDownsample or CopyValues make it')
        image, is_grey = self._read(path)
        results.update({self.key: image, f'ori_{self.key}_shape': image.shape, f'{self.key}_is_grey': is_grey})
        return results

    def _read(self, path):
        if self.cache is None:
            return read_image_and_kind(path, self.backend_args)
        if path not in self.cache:
            self.cache[path] = read_image_and_kind(path, self.backend_args)
            self.cache[path][0].flags.writeable = False
        return self.cache[path]

    def __repr__(self):
        return f'{type(self).__name__}(key={self.key!r}, use_cache={self.cache is not None})'


@TRANSFORMS.register_module()
class BicubicDownsample(BaseTransform):
    """Make the input from the truth by MATLAB's bicubic rule for 8-bit images, for sets without low-resolution files.

    The truth is first cut from the top left to a multiple of `results['scale']`.

    Args:
        border (str): 'symmetric' (newer MATLAB, EDSR's benchmark files) or 'replicate' (RCAN's files).
        use_cache (bool): Keep the inputs in memory (of each worker process); for small sets.
    """

    def __init__(self, border='symmetric', use_cache=False):
        self.border = border
        self.cache = {} if use_cache else None

    def transform(self, results):
        scale, gt = results['scale'], results['gt']
        height, width = (side - side % scale for side in gt.shape[:2])
        results['gt'] = gt = gt[:height, :width]
        name = results['gt_path'], scale
        if self.cache is None:
            results['img'] = imresize(gt, 1 / scale, border=self.border)
        else:
            if name not in self.cache:
                self.cache[name] = imresize(gt, 1 / scale, border=self.border)
                self.cache[name].flags.writeable = False
            results['img'] = self.cache[name]
        results['ori_img_shape'] = results['img'].shape
        return results

    def __repr__(self):
        return f'{type(self).__name__}(border={self.border!r}, use_cache={self.cache is not None})'


@TRANSFORMS.register_module()
class CopyValues(BaseTransform):
    """Copy entries of a sample, for example the truth as the input to which noise is added.

    Args:
        src_keys, dst_keys (list[str]): From where to where, of equal length.
    """

    def __init__(self, src_keys, dst_keys):
        if len(src_keys) != len(dst_keys):
            raise ValueError(f'CopyValues: src_keys={src_keys} and dst_keys={dst_keys} differ in length')
        self.src_keys, self.dst_keys = src_keys, dst_keys

    def transform(self, results):
        for source, target in zip(self.src_keys, self.dst_keys, strict=True):
            results[target] = results[source].copy()
        return results

    def __repr__(self):
        return f'{type(self).__name__}(src_keys={self.src_keys}, dst_keys={self.dst_keys})'


@TRANSFORMS.register_module()
class SetValues(BaseTransform):
    """Set entries of a sample, as `dict(scale=2)` in mmagic's configs.

    Args:
        dictionary (dict): Entries.
    """

    def __init__(self, dictionary):
        self.dictionary = dictionary

    def transform(self, results):
        results.update(self.dictionary)
        return results

    def __repr__(self):
        return f'{type(self).__name__}(dictionary={self.dictionary})'


@TRANSFORMS.register_module()
class AddGaussianNoise(BaseTransform):
    """Add white Gaussian noise, independent for every pixel and channel; the image becomes float32 and is not rounded.

    Args:
        sigma (float or tuple[float, float]): Standard deviation on the scale 0..255, or a range to draw it from.
        key (str): The image.
        seed (int, optional): For testing: the noise then depends on the seed and on the image's name alone, not on
            the order of images, the number of processes, or the folder. None draws from numpy's global state.
        clip (bool): Limit the noisy image to 0..255, as in IPT's code; DnCNN's does not.
    """

    def __init__(self, sigma, key='img', seed=None, clip=True):
        self.low, self.high = (sigma, sigma) if np.isscalar(sigma) else sigma
        if not 0 <= self.low <= self.high:
            raise ValueError(f'AddGaussianNoise: sigma={sigma}, expected a number or (low, high), 0 or more')
        self.key, self.seed, self.clip = key, seed, clip

    def transform(self, results):
        image = results[self.key]
        draw = np.random if self.seed is None else np.random.default_rng(
            [self.seed, zlib.crc32(results['key'].encode())])
        sigma = draw.uniform(self.low, self.high)
        noisy = image + sigma * draw.standard_normal(image.shape)
        results[self.key] = (noisy.clip(0, 255) if self.clip else noisy).astype(np.float32)
        results['noise_sigma'] = float(sigma)
        return results

    def __repr__(self):
        return (f'{type(self).__name__}(sigma=({self.low}, {self.high}), key={self.key!r}, seed={self.seed}, '
                f'clip={self.clip})')
