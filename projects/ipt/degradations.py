"""What IPT's pre-training does to clean patches: bicubic downsampling, Gaussian noise, rain (arXiv 2012.00364, 4.1).

Each degradation is a callable on batches of clean images in 0..255, with an attribute `scale`, its factor of size.
Details are those of the released training code (MindSpore). The rain streaks of RainTrainL serve where they are at
hand; otherwise streaks are drawn here, by a recipe that is inferred (the paper cites one without numbers).
"""

import glob
import math
import os

import cv2
import numpy as np
import torch
from mmengine.registry import MODELS
from torch.nn import functional as F

from projects.restoration.imresize import imresize
from projects.runtime.errors import DataError


@MODELS.register_module()
class BicubicDegradation:
    """MATLAB's bicubic downsampling with the edge pixel repeated, rounded and clipped.

    Args:
        scale (int): Factor.

    Shape: (N, 3, sH, sW) to (N, 3, H, W), float.
    """

    def __init__(self, scale):
        self.scale = scale

    def __call__(self, clean):
        return imresize(clean, 1 / self.scale, border='replicate').round().clamp(0, 255)


@MODELS.register_module()
class NoiseDegradation:
    """White Gaussian noise, clipped and not rounded.

    Args:
        sigma (float): Standard deviation on the scale 0..255.

    Shape: (N, 3, H, W), in and out, float.
    """

    scale = 1

    def __init__(self, sigma):
        self.sigma = sigma

    def __call__(self, clean):
        return (clean + self.sigma * torch.randn_like(clean)).clamp(0, 255)


@MODELS.register_module()
class RainDegradation:
    """Rain: a map of streaks, another one for each image and the same for its channels, is added; clipped.

    Args:
        streak_dir (str, optional): Folder of grey streak images, such as RainTrainL; a random part of a random one is
            taken. None draws streaks: sparse drops, blurred along a line of one direction for each image.
        pattern (str): Which files of the folder are streaks.
        density (float): Drops for each pixel, of drawn streaks; like the rest inferred.
        angle (float): Largest angle from the vertical, degrees.
        length (tuple[float, float]): Shortest and longest streak, pixels.
        strength (tuple[float, float]): Range of an image's brightest value, 0..1.

    Shape: (N, 3, H, W), in and out, float.

    Raises:
        DataError: no streaks in the folder; from calling: a streak image that cannot be read or is too small.
    """

    scale = 1

    def __init__(self, streak_dir=None, pattern='rainstreak*', density=0.005, angle=45.0, length=(15, 30),
                 strength=(0.3, 0.8)):
        self.files = sorted(glob.glob(os.path.join(glob.escape(streak_dir), pattern))) if streak_dir else None
        if self.files == []:
            raise DataError(f'{streak_dir}: no rain streaks named {pattern!r} (streak_dir, pattern). Point to the '
                            'folder of RainTrainL, or set streak_dir=None to draw streaks.')
        self.density, self.angle, self.length, self.strength = density, angle, length, strength
        self._images = {}

    def __call__(self, clean):
        if self.files is None:
            streaks = self.draw(len(clean), *clean.shape[-2:], device=clean.device)
        else:
            streaks = torch.stack([self._part(*clean.shape[-2:]) for _ in clean]).to(clean.device)
        return (clean + streaks).clamp(0, 255)

    def draw(self, number, height, width, device=None):
        """Drawn streak maps, (number, 1, height, width) in 0..255."""
        reach = math.ceil(max(self.length) / 2)
        drops = torch.rand(1, number, height + 2 * reach, width + 2 * reach, device=device) < self.density
        streaks = F.conv2d(drops.float(), self._lines(number, reach, device), groups=number).clamp_(0, 1)
        return 255 * self._uniform(number, self.strength, device) * streaks.movedim(0, 1)

    def _lines(self, number, reach, device):
        """Line segments through the centre of a square, one for each image: (number, 1, 2 reach + 1, 2 reach + 1)."""
        place = torch.arange(-reach, reach + 1, dtype=torch.float32, device=device)
        angle = torch.deg2rad(self._uniform(number, (-self.angle, self.angle), device))
        half = self._uniform(number, self.length, device) / 2
        along = place[:, None] * angle.cos() + place * angle.sin()
        across = place * angle.cos() - place[:, None] * angle.sin()
        return (1 - across.abs()).clamp(min=0) * (half + 0.5 - along.abs()).clamp(0, 1)

    @staticmethod
    def _uniform(number, limits, device):
        low, high = limits
        return low + (high - low) * torch.rand(number, 1, 1, 1, device=device)

    def _part(self, height, width):
        """A random part of a random streak image, (1, height, width)."""
        path = self.files[torch.randint(len(self.files), ()).item()]
        if path not in self._images:
            self._images[path] = _read_streaks(path)
        image = self._images[path]
        free = image.shape[0] - height, image.shape[1] - width
        if min(free) < 0:
            raise DataError(f'{path}: the rain streaks have {image.shape[1]} x {image.shape[0]} pixels, less than the '
                            f'patch of {width} x {height}. Remove the file or narrow the pattern.')
        top, left = (torch.randint(side + 1, ()).item() for side in free)
        return torch.from_numpy(image[None, top:top + height, left:left + width]).float()


def _read_streaks(path):
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE) if os.path.getsize(path) else None
    if image is None:
        raise DataError(f'{path}: cannot be read as an image of rain streaks. Copy or download it again.')
    return image
