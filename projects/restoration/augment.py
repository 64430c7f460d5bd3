"""Cropping, flipping and packing of image pairs; names and arguments are mmagic's."""

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from projects.runtime.errors import DataError

from .data_sample import RestorationDataSample

META_KEYS = ('key', 'img_path', 'gt_path', 'scale', 'ori_img_shape', 'ori_gt_shape', 'noise_sigma')


def matching_size(results, lq_key='img', gt_key='gt'):
    """Height and width of the part of the truth that belongs to the input: the input's size times the scale.

    Raises:
        DataError: the truth is smaller, or larger by a whole scale or more.
    """
    scale, lq, gt = results['scale'], results[lq_key].shape[:2], results[gt_key].shape[:2]
    expected = tuple(side * scale for side in lq)
    if not all(0 <= have - want < scale for have, want in zip(gt, expected, strict=True)):
        raise DataError(
            f'{results.get(f"{gt_key}_path")} has {gt[1]} x {gt[0]} pixels and {results.get(f"{lq_key}_path")} '
            f'{lq[1]} x {lq[0]}: with scale {scale} expected {expected[1]} x {expected[0]} for the former, or up to '
            f'{scale - 1} more. Do both belong together, and is the scale of the data set the right one?')
    return expected


@TRANSFORMS.register_module()
class ModCrop(BaseTransform):
    """Cut the truth from the top left to the input's size times `results['scale']`, as benchmarks do.

    Raises:
        DataError: the sizes do not belong together.
    """

    def transform(self, results):
        height, width = matching_size(results)
        results['gt'] = results['gt'][:height, :width]
        return results

    def __repr__(self):
        return f'{type(self).__name__}()'


@TRANSFORMS.register_module()
class PairedRandomCrop(BaseTransform):
    """Cut the same random square out of input and truth; the corner is drawn in the input.

    Args:
        gt_patch_size (int, optional): Side in the truth, a multiple of the scale (mmagic's argument).
        lq_patch_size (int, optional): Side in the input, instead of `gt_patch_size`; the same for all scales.
        lq_key, gt_key (str): The images.

    Raises:
        DataError: sizes that do not belong together, or an image smaller than the patch.
        ValueError: not exactly one of the two sizes is given.
    """

    def __init__(self, gt_patch_size=None, lq_patch_size=None, lq_key='img', gt_key='gt'):
        if (gt_patch_size is None) == (lq_patch_size is None):
            raise ValueError(f'PairedRandomCrop: gt_patch_size={gt_patch_size}, lq_patch_size={lq_patch_size}: '
                             'expected exactly one of them')
        self.gt_patch_size, self.lq_patch_size = gt_patch_size, lq_patch_size
        self.lq_key, self.gt_key = lq_key, gt_key

    def transform(self, results):
        matching_size(results, self.lq_key, self.gt_key)
        scale, lq = results['scale'], results[self.lq_key]
        side = self._side(scale)
        if min(lq.shape[:2]) < side:
            path = results.get(f'{self.lq_key}_path') or results.get(f'{self.gt_key}_path')
            raise DataError(f'{path}: the input has {lq.shape[1]} x {lq.shape[0]} pixels, less than the patch of '
                            f'{side} x {side}. Take a smaller patch or leave the image out.')
        top, left = (np.random.randint(length - side + 1) for length in lq.shape[:2])
        results[self.lq_key] = lq[top:top + side, left:left + side]
        results[self.gt_key] = results[self.gt_key][scale * top:scale * (top + side),
                                                    scale * left:scale * (left + side)]
        return results

    def _side(self, scale):
        if self.lq_patch_size is not None:
            return self.lq_patch_size
        if self.gt_patch_size % scale:
            raise DataError(f'PairedRandomCrop: gt_patch_size={self.gt_patch_size} is no multiple of scale {scale}')
        return self.gt_patch_size // scale

    def __repr__(self):
        return f'{type(self).__name__}(gt_patch_size={self.gt_patch_size}, lq_patch_size={self.lq_patch_size})'


@TRANSFORMS.register_module()
class Flip(BaseTransform):
    """Mirror the images of a sample, all or none.

    Args:
        keys (list[str]): The images.
        flip_ratio (float): Probability.
        direction (str): 'horizontal' exchanges left and right, 'vertical' top and bottom.
    """

    def __init__(self, keys, flip_ratio=0.5, direction='horizontal'):
        if direction not in ('horizontal', 'vertical'):
            raise ValueError(f"Flip: direction={direction!r}, expected 'horizontal' or 'vertical'")
        self.keys, self.flip_ratio, self.direction = keys, flip_ratio, direction

    def transform(self, results):
        if np.random.random() < self.flip_ratio:
            axis = 1 if self.direction == 'horizontal' else 0
            for key in self.keys:
                results[key] = np.flip(results[key], axis)
        return results

    def __repr__(self):
        return f'{type(self).__name__}(keys={self.keys}, flip_ratio={self.flip_ratio}, direction={self.direction!r})'


@TRANSFORMS.register_module()
class RandomTransposeHW(BaseTransform):
    """Exchange height and width of the images of a sample, all or none.

    Args:
        keys (list[str]): The images.
        transpose_ratio (float): Probability.
    """

    def __init__(self, keys, transpose_ratio=0.5):
        self.keys, self.transpose_ratio = keys, transpose_ratio

    def transform(self, results):
        if np.random.random() < self.transpose_ratio:
            for key in self.keys:
                results[key] = results[key].swapaxes(0, 1)
        return results

    def __repr__(self):
        return f'{type(self).__name__}(keys={self.keys}, transpose_ratio={self.transpose_ratio})'


@TRANSFORMS.register_module()
class PackInputs(BaseTransform):
    """Turn a sample into `inputs`, the network's input (3, H, W), and `data_samples`, a `RestorationDataSample`.

    Both images keep their type: uint8, or float32 with noise. Where the input has no file of its own its `img_path` is
    that of the truth.

    Args:
        meta_keys (tuple[str]): Facts to keep, where a sample has them.
    """

    def __init__(self, meta_keys=META_KEYS):
        self.meta_keys = tuple(meta_keys)

    def transform(self, results):
        results.setdefault('img_path', results.get('gt_path'))
        sample = RestorationDataSample(metainfo={key: results[key] for key in self.meta_keys if key in results})
        if 'gt' in results:
            sample.gt_img = _tensor(results['gt'])
            sample.set_metainfo(dict(gt_is_grey=results.get('gt_is_grey', False)))
        return dict(inputs=_tensor(results['img']), data_samples=sample)

    def __repr__(self):
        return f'{type(self).__name__}(meta_keys={self.meta_keys})'


def _tensor(image):
    """H x W x 3 array to a tensor (3, H, W) with memory of its own."""
    return torch.from_numpy(image.transpose(2, 0, 1).copy())
