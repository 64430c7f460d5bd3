"""The metrics `PSNR` and `SSIM` of test sets, for mmengine's evaluator.

By default they are those of super-resolution papers: the prediction clamped and rounded to 8 bit, luma Y, and the
mean over images of each image's value (set `crop_border` to the scale). mmagic's numbers, on unrounded RGB, come
with `convert_to=None, round=False`. Several test sets in one run need a `prefix` each, as 'Set5'. `save_best='PSNR'`
of the checkpoint hook needs `rule='greater'`.

A grey ground truth should stay grey (1 x H x W, with a grey prediction): copied to three channels and turned into Y,
its values span 219/255 of the range and gain 1.3 dB. The published bicubic rows of Set14, whose `bridge` is grey, fit
the comparison as it is: 30.23 dB at x2 (published 30.24), against 30.32 dB with `bridge` in three channels.
"""

from abc import abstractmethod

import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from mmengine.structures import BaseDataElement

from projects.runtime.errors import DataError

from .quality import psnr, ssim

# Pixels by which a ground truth may exceed the prediction: scale s cuts off s - 1 at most. More is another mistake.
MAX_MOD_CROP = 15


class ImageQualityMetric(BaseMetric):
    """Mean of an image measure over a test set; subclasses name the measure.

    Data samples (dicts, or `BaseDataElement`) hold RGB images in 0..255 of shape (3, H, W), or grey ones of shape
    (1, H, W), as tensors or arrays of any real dtype. A ground truth that is up to 15 pixels larger than the prediction
    is cut to its size from the top left: the mod-crop of the benchmarks, for sizes that the scale does not divide.
    Distributed runs count every image once, whatever the sampler padded.

    Args:
        gt_key (str): Key of the ground truth in a data sample.
        pred_key (str): Key of the prediction.
        crop_border (int): Pixels left out on each side; papers take the scale.
        convert_to (str, optional): 'Y' compares the luma, None the RGB channels. Grey images are compared as they are.
        round (bool): Clamp the prediction to 0..255 and round it to integers first, as when saved as a PNG.
        collect_device (str): 'cpu' or 'gpu', where the results of several processes are collected.
        prefix (str, optional): Put before the metric's name: 'Set5' gives 'Set5/PSNR'.
        collect_dir (str, optional): Folder for collecting on 'cpu'.

    Raises:
        ValueError: unknown `convert_to`.
        DataError: from `process`: a data sample lacks an image, or its images cannot be compared; the message names
            the image by its `img_path`.
    """

    default_prefix = ''  # a single test set needs no prefix, and None would make mmengine warn

    def __init__(self, gt_key='gt_img', pred_key='pred_img', crop_border=0, convert_to='Y', round=True,
                 collect_device='cpu', prefix=None, collect_dir=None):
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if convert_to not in (None, 'Y'):
            raise ValueError(f"{type(self).__name__}: convert_to={convert_to!r}, expected 'Y' or None (RGB)")
        self.gt_key, self.pred_key = gt_key, pred_key
        self.crop_border, self.convert_to, self.round = crop_border, convert_to, round

    @staticmethod
    @abstractmethod
    def measure(pred, gt, *, crop_border, convert_to):
        """The measure of one pair of arrays H x W x C."""

    def process(self, data_batch, data_samples):
        """Measure the images of one batch; `results` gets one number for each."""
        self.results.extend(self._measure(sample) for sample in data_samples)

    def compute_metrics(self, results):
        """Mean over the images, under the name of the class."""
        return {type(self).__name__: sum(results) / len(results) if results else float('nan')}

    def _measure(self, sample):
        if isinstance(sample, BaseDataElement):
            sample = sample.to_dict()
        where = f'{type(self).__name__}: image {sample.get("img_path", "(no img_path)")}'
        pred, gt = (self._image(sample, key, where) for key in (self.pred_key, self.gt_key))
        if self.round:
            pred = pred.clamp(0, 255).round()
        gt = _mod_crop(gt, pred, where)
        try:
            return self.measure(*(image.permute(1, 2, 0).numpy() for image in (pred, gt)),
                                crop_border=self.crop_border, convert_to=self.convert_to)
        except ValueError as error:
            raise DataError(f'{where}: {error}') from error

    @staticmethod
    def _image(sample, key, where):
        if key not in sample:
            raise DataError(f'{where}: the data sample has no {key!r}, only {sorted(sample)}. A test set without '
                            'ground truth has no metric; else set gt_key and pred_key of the metric')
        image = torch.as_tensor(sample[key]).detach().cpu().double()
        if image.ndim != 3 or image.shape[0] not in (1, 3):
            raise DataError(f'{where}: {key} has shape {tuple(image.shape)}, expected (3, H, W) or (1, H, W)')
        return image


def _mod_crop(gt, pred, where):
    """The ground truth cut from the top left to the prediction's size."""
    height, width = pred.shape[1:]
    surplus = gt.shape[1] - height, gt.shape[2] - width
    if gt.shape[0] != pred.shape[0] or min(surplus) < 0 or max(surplus) > MAX_MOD_CROP:
        raise DataError(f'{where}: the prediction is {tuple(pred.shape)} and the ground truth {tuple(gt.shape)} '
                        '(channels, height, width). Expected equal channels and sizes, or a ground truth at most '
                        f'{MAX_MOD_CROP} pixels larger; does the scale of the model fit the data?')
    return gt[:, :height, :width]


@METRICS.register_module()
class PSNR(ImageQualityMetric):
    """Mean peak signal-to-noise ratio in decibels, key 'PSNR'; infinite if an image is restored without error.

    Arguments and errors are those of :class:`ImageQualityMetric`; the measure is :func:`..quality.psnr`.
    """

    measure = staticmethod(psnr)


@METRICS.register_module()
class SSIM(ImageQualityMetric):
    """Mean structural similarity, key 'SSIM'.

    Arguments and errors are those of :class:`ImageQualityMetric`; the measure is :func:`..quality.ssim`.
    """

    measure = staticmethod(ssim)
