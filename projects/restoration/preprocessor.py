"""From loaded images to what the network takes, and back."""

import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS
from torch.nn import functional as F

from projects.runtime.errors import DataError

from .colour import rgb2ycbcr
from .imresize import imresize

CHANNELS = ('rgb', 'y')
# Y changes by 219/255 of what is added to R, G and B alike; Cb and Cr stay.
_RGB_PER_Y = 255 / 219


@MODELS.register_module()
class RestorationDataPreprocessor(BaseDataPreprocessor):
    """Stacks images, chooses their channels, normalises, pads; `destruct` undoes all of that.

    In training the truth (`gt_img`) is treated like the input. When testing it stays as it is, and the input is kept in
    the data sample (`input`). Images of different sizes in one test batch are padded at the bottom and the right; then
    pixels near that border see padding, so benchmarks run with batch size 1.

    Args:
        mean, std (float or tuple[float]): Of each channel; the network sees (pixel - mean) / std. The default gives
            it 0..1; EDSR takes 0..255 (std 1).
        channels (str): 'rgb', or 'y' for networks that restore the luma alone. Colour then comes from the bicubically
            enlarged input.
        pad_size_divisor (int): Test inputs are padded to a multiple of it.
        pad_mode (str): 'replicate', 'reflect' or 'constant', as in `torch.nn.functional.pad`.
        keep_grey (bool): When testing, compare a truth whose file is grey ('bridge' of Set14) as grey: truth and
            prediction become (1, H, W). So do the published rows of bicubic interpolation and the evaluations in
            MATLAB. False compares it as RGB, as EDSR's and IPT's code does: its PSNR on Y is 1.3 dB higher.
        non_blocking (bool): Whether copies to the GPU overlap with computation.

    Raises:
        DataError: from `forward`: training images of different sizes in one batch.
    """

    def __init__(self, mean=0.0, std=255.0, channels='rgb', pad_size_divisor=1, pad_mode='replicate', keep_grey=True,
                 non_blocking=False):
        super().__init__(non_blocking)
        if channels not in CHANNELS:
            raise ValueError(f'channels={channels!r}: expected one of {CHANNELS}')
        for name, value in (('mean', mean), ('std', std)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32).reshape(-1, 1, 1), persistent=False)
        self.channels, self.pad_size_divisor, self.pad_mode = channels, pad_size_divisor, pad_mode
        self.keep_grey = keep_grey

    def forward(self, data, training=False):
        """Prepare a batch.

        Args:
            data (dict): `inputs`, list of tensors (3, H, W), and `data_samples`, list of `RestorationDataSample`.
            training (bool): Whether `gt_img` is prepared as well.

        Returns:
            dict: `inputs`, float tensor (N, C, H, W), and `data_samples`. When testing they carry `input` and the meta
            value `input_size`, height and width without padding.
        """
        data = self.cast_data(data)
        images, samples = list(data['inputs']), data.get('data_samples')
        if training:
            self._check_sizes(images, samples)
            for sample in samples:
                sample.gt_img = self.normalize(sample.gt_img)
            return dict(inputs=torch.stack([self.normalize(image) for image in images]), data_samples=samples)
        for image, sample in zip(images, samples or (), strict=False):
            sample.input = image
            sample.set_metainfo(dict(input_size=tuple(image.shape[-2:])))
            if self.keep_grey and sample.get('gt_is_grey'):
                sample.gt_img = sample.gt_img[:1]
        return dict(inputs=self._padded([self.normalize(image) for image in images]), data_samples=samples)

    def normalize(self, image):
        """RGB (..., 3, H, W) in 0..255 to the network's channels and range."""
        image = rgb2ycbcr(image, y_only=True) if self.channels == 'y' else image.float()
        return (image - self.mean) / self.std

    def destruct(self, outputs, samples, scale):
        """Turn the network's outputs into images.

        Args:
            outputs (Tensor): (N, C, sH, sW) in the network's range, padding included.
            samples (list[RestorationDataSample]): As `forward` returned them.
            scale (int): Size of an output over that of its input.

        Returns:
            list[Tensor]: (3, sH, sW), RGB in 0..255, float32, clamped and not rounded; (1, sH, sW) for a grey truth.
        """
        outputs = outputs.float() * self.std + self.mean
        images = []
        for output, sample in zip(outputs, samples, strict=True):
            grey = 'gt_img' in sample and sample.gt_img.shape[0] == 1
            height, width = (scale * side for side in sample.input_size)
            image = output[:, :height, :width]
            if self.channels == 'y':
                image = self._with_colour(image, sample.input.float(), scale)
            images.append((_to_grey(image) if grey else image).clamp(0, 255))
        return images

    @staticmethod
    def _with_colour(luma, image, scale):
        if scale != 1:
            image = imresize(image, scale)
        return image + (luma - rgb2ycbcr(image, y_only=True)) * _RGB_PER_Y

    def _padded(self, images):
        """Stack images of any sizes, padded to the largest one and to the divisor."""
        divisor = self.pad_size_divisor
        height, width = (-(-max(sides) // divisor) * divisor for sides in zip(
            *(image.shape[-2:] for image in images), strict=True))
        return torch.stack([self._pad(image, height, width) for image in images])

    def _pad(self, image, height, width):
        bottom, right = height - image.shape[-2], width - image.shape[-1]
        if not bottom and not right:
            return image
        return F.pad(image[None], (0, right, 0, bottom), mode=self.pad_mode)[0]

    @staticmethod
    def _check_sizes(images, samples):
        for name, group in (('inputs', images), ('truths', [sample.gt_img for sample in samples])):
            sizes = {tuple(image.shape[-2:]): sample for image, sample in zip(group, samples, strict=True)}
            if len(sizes) > 1:
                (size, first), (other, second) = list(sizes.items())[:2]
                raise DataError(
                    f'{name} of one training batch differ in size (height, width): {size} of {first.get("img_path")}, '
                    f'{other} of {second.get("img_path")}. Crop patches (PairedRandomCrop); with several scales, '
                    'batch_sampler=dict(type="SameSourceBatchSampler").')


def _to_grey(image):
    """Grey values, 0..255, of the same luma."""
    return (rgb2ycbcr(image, y_only=True) - 16) * _RGB_PER_Y
