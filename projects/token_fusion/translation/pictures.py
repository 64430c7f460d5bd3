"""Pictures of a translation: inputs, what was replaced in them, the branches' images, ensemble and target in a row."""

from __future__ import annotations

import cv2
import numpy as np
from torch import Tensor

from .sample import TranslationSample

LEAST_SIDE = 128  # of a panel; smaller images are enlarged
LABEL_HEIGHT, GAP = 20, 3


def to_uint8(image: Tensor) -> np.ndarray:
    """(3, H, W) in -1..1 to H x W x 3, uint8."""
    return ((image.detach().cpu().float() + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


def panel(label: str, image: np.ndarray) -> np.ndarray:
    """An image below a black band with its label."""
    factor = -(-LEAST_SIDE // min(image.shape[:2]))
    image = image.repeat(factor, 0).repeat(factor, 1)
    band = np.zeros((LABEL_HEIGHT, image.shape[1], 3), np.uint8)
    width = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)[0][0]
    scale = 0.4 * min(1, (band.shape[1] - 6) / max(width, 1))
    cv2.putText(band, label, (3, 14), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([band, image])


def draw_translation(sample: TranslationSample) -> np.ndarray:
    """One picture of a predicted data sample, RGB, uint8.

    'replaced' is black where no layer replaced the token and white where all did.
    """
    panels = [(name, to_uint8(image)) for name, image in zip(sample.input_names, sample.inputs, strict=True)]
    if 'replaced' in sample:
        panels += [(f'replaced in {name}', to_uint8(share.expand(3, -1, -1) * 2 - 1))
                   for name, share in zip(sample.branches, sample.replaced, strict=True)]
    if len(sample.branches) > 1:
        panels += [(f'from {name}', to_uint8(image))
                   for name, image in zip(sample.branches, sample.pred_branches, strict=True)]
    panels.append((f'{sample.target or "image"}: ours', to_uint8(sample.pred_img)))
    if 'gt_img' in sample:
        panels.append(('target', to_uint8(sample.gt_img)))
    columns = [panel(*item) for item in panels]
    gap = np.full((columns[0].shape[0], GAP, 3), 255, np.uint8)
    return np.hstack([part for column in columns for part in (gap, column)][1:])
