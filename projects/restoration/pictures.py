"""Pictures that put input, bicubic interpolation, restored image and truth side by side."""

import cv2
import numpy as np
import torch
from mmengine.registry import VISUALIZERS
from mmengine.visualization import Visualizer

from projects.runtime.atomic import write_atomic
from projects.runtime.image_bytes import encode_png

from .imresize import imresize
from .quality import psnr

LONGEST_SIDE = 480  # of a panel; larger images are shrunk
LABEL_HEIGHT, GAP = 24, 4
_MARK = (255, 220, 0)


def to_uint8(image):
    """Tensor (3, H, W) or (1, H, W), or array, in 0..255 to an array H x W x 3, rounded as when it is scored."""
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu().permute(1, 2, 0).numpy()
    image = np.broadcast_to(image, (*image.shape[:2], 3))
    return image if image.dtype == np.uint8 else image.clip(0, 255).round().astype(np.uint8)


def versions(source, restored, truth=None, grey=False):
    """The images to compare, all in the size of the restored one, with their labels.

    Args:
        source (ndarray): Input, H x W x 3, uint8.
        restored (ndarray): sH x sW x 3, uint8.
        truth (ndarray, optional): sH x sW x 3, uint8.
        grey (bool): Whether PSNR is that of the grey values instead of Y.

    Returns:
        list[tuple[str, ndarray]]: 'Input' (nearest neighbour), 'Bicubic' (unless s is 1), 'Ours' and, with a truth,
        'Ground truth'. With a truth the others' PSNR, without s pixels at the border, is added to their label.
    """
    scale = restored.shape[1] // source.shape[1]
    shown = [('Input', source.repeat(scale, 0).repeat(scale, 1))]
    if scale > 1:
        shown.append(('Bicubic', imresize(source, scale)))
    shown.append(('Ours', restored))
    if truth is None:
        return shown
    truth = truth[:restored.shape[0], :restored.shape[1]]
    border = scale if scale > 1 else 0
    if min(truth.shape[:2]) > 2 * border:
        shown = [(label if label == 'Input' and scale > 1 else
                  f'{label} {psnr(image, truth, crop_border=border, convert_to=None if grey else "Y"):.2f} dB', image)
                 for label, image in shown]
    return [*shown, ('Ground truth', truth)]


def busiest_window(image, height, width):
    """Top and left of the window of this size with the largest sum of luma gradients: where details are."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64)
    gradient = np.abs(np.gradient(grey, axis=0)) + np.abs(np.gradient(grey, axis=1))
    integral = cv2.integral(gradient)
    sums = integral[height:, width:] - integral[:-height, width:] - integral[height:, :-width] + integral[
        :-height, :-width]
    return tuple(int(value) for value in np.unravel_index(sums.argmax(), sums.shape))


def comparison(shown):
    """One picture: labelled panels in a row, the busiest part of each, enlarged, below.

    Args:
        shown (list[tuple[str, ndarray]]): Labels and images of one size, H x W x 3, uint8; the last one decides which
            part is enlarged.

    Returns:
        ndarray: uint8, RGB.
    """
    height, width = shown[0][1].shape[:2]
    crop_width = max(8, min(width, height * 3 // 2, max(24, width // 6)))
    crop_height = max(1, min(height, crop_width * 2 // 3))
    top, left = busiest_window(shown[-1][1], crop_height, min(crop_width, width))
    columns = [_column(label, image, (top, left, crop_height, min(crop_width, width))) for label, image in shown]
    gap = np.full((columns[0].shape[0], GAP, 3), 255, np.uint8)
    return np.hstack([part for column in columns for part in (gap, column)][1:])


def _column(label, image, part):
    """A panel: label, image with the part marked, the part enlarged."""
    top, left, height, width = part
    factor = min(LONGEST_SIDE / max(image.shape[:2]), max(1, LONGEST_SIDE // max(image.shape[:2])))
    size = tuple(max(1, round(side * factor)) for side in image.shape[1::-1])
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST)
    corners = [tuple(round(value * factor) for value in corner) for corner in (
        (left, top), (left + width, top + height))]
    cv2.rectangle(small, *corners, _MARK, 2)
    zoomed = cv2.resize(image[top:top + height, left:left + width], (size[0], round(size[0] * height / width)),
                        interpolation=cv2.INTER_NEAREST)
    band = np.zeros((LABEL_HEIGHT, size[0], 3), np.uint8)
    text_scale = min(0.5, 0.5 * (size[0] - 8) / max(1, cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]))
    cv2.putText(band, label, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, text_scale, (255, 255, 255), 1, cv2.LINE_AA)
    gap = np.full((GAP, size[0], 3), 255, np.uint8)
    return np.vstack([band, small, gap, zoomed])


@VISUALIZERS.register_module()
class RestorationVisualizer(Visualizer):
    """mmengine's visualiser, which can draw restored images; arguments are those of `Visualizer`."""

    def add_datasample(self, name, image, data_sample, draw_gt=True, draw_pred=True, show=False, wait_time=0,
                       out_file=None, step=0):
        """Draw one sample.

        Args:
            name (str): Name of the picture.
            image (ndarray or None): Input, H x W x 3 RGB in 0..255; None takes that of the data sample.
            data_sample (RestorationDataSample): With `pred_img`; perhaps with `gt_img`.
            draw_gt, draw_pred (bool): Whether the truth and the prediction are panels.
            show (bool): Open a window.
            wait_time (float): Seconds to show it.
            out_file (str, optional): PNG to write, in one step. Without it the picture goes to the backends.
            step (int): Step for the backends.
        """
        source = to_uint8(data_sample.input if image is None else image)
        restored = to_uint8(data_sample.pred_img)
        truth = to_uint8(data_sample.gt_img) if draw_gt and 'gt_img' in data_sample else None
        drawn = comparison([item for item in versions(source, restored, truth, data_sample.pred_img.shape[0] == 1)
                            if draw_pred or not item[0].startswith('Ours')])
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is not None:
            write_atomic(out_file, encode_png(drawn))
        elif not show:
            self.add_image(name, drawn, step)
