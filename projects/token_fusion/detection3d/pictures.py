"""Pictures of scenes of points and an image: projected points, and 3D boxes drawn into the image.

``tools/test.py --show-dir`` draws them with predictions, ``draw_scenes`` the truth of an info file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmdet3d.registry import HOOKS
from mmdet3d.structures import BaseInstance3DBoxes
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from projects.runtime.atomic import write_atomic
from projects.runtime.image_bytes import encode_png

from .group_free_head import owners
from .projection import to_pixels

LEAST_WIDTH = 640
"""Pixels; smaller images are enlarged."""
EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
"""Of the corners as mmdet3d orders them."""
PARTS = 24
"""Pieces of an edge; those behind the camera are left out."""


def class_colours(count: int) -> np.ndarray:
    """(count, 3) uint8 RGB, hues a golden angle apart."""
    hsv = np.stack([np.arange(count) * 137.508 % 360 / 2, np.full(count, 210.), np.full(count, 255.)], 1)
    return cv2.cvtColor(np.rint(hsv).astype(np.uint8)[None], cv2.COLOR_HSV2RGB)[0]


def first_view(meta: dict) -> tuple[np.ndarray, dict, float]:
    """Image of a sample as the network sees it, enlarged (H, W, 3) RGB; metadata of this view alone; the enlargement.

    Raises:
        FileNotFoundError: the image cannot be read.
    """
    path, matrix = meta['img_path'], np.asarray(meta['depth2img'])
    if not isinstance(path, str):
        path, matrix = path[0], matrix[0]
    image = cv2.imread(str(path))
    if image is None:
        raise FileNotFoundError(f'{path}: not there, or not an image')
    height, width = meta['img_shape'][:2]
    factor = max(1., LEAST_WIDTH / width)
    image = cv2.resize(image, (round(width * factor), round(height * factor)), interpolation=cv2.INTER_AREA)
    return image[..., ::-1].copy(), {**meta, 'depth2img': matrix}, factor


def draw_points(image: np.ndarray, points: torch.Tensor, colours: np.ndarray, meta: dict, factor: float) -> np.ndarray:
    """A copy of an image with points (N, 3) in colours (N, 3); near ones over far ones."""
    image, pixels = image.copy(), to_pixels(points, meta)
    order = pixels.depth[0].argsort(descending=True)
    order = order[pixels.inside[0][order]].numpy()
    places = np.rint((pixels.uv[0].numpy()[order] + .5) * factor - .5).astype(int)
    for (u, v), colour in zip(places, colours[order], strict=True):
        cv2.circle(image, (int(u), int(v)), 1, colour.tolist(), -1, cv2.LINE_AA)
    return image


def draw_boxes(image: np.ndarray, boxes: BaseInstance3DBoxes, labels: np.ndarray, names: Sequence[str], meta: dict,
               factor: float) -> np.ndarray:
    """A copy of an image with the edges of boxes in the colours of their classes, and names."""
    image, colours = image.copy(), class_colours(len(names))
    for corners, label in zip(boxes.corners.cpu(), labels, strict=True):
        ends = corners[torch.tensor(EDGES)]
        steps = torch.linspace(0, 1, PARTS + 1)[:, None, None, None]
        lines = ends[:, 0] * (1 - steps[:, 0]) + ends[:, 1] * steps[:, 0]  # (steps, edges, 3)
        pixels = to_pixels(lines.flatten(0, 1), meta)
        uv = np.rint(((pixels.uv[0] + .5) * factor).clamp(-1e4, 1e4).numpy()).astype(int).reshape(PARTS + 1, -1, 2)
        front = (pixels.depth[0] > .05).reshape(PARTS + 1, -1).numpy()
        for step, edge in np.argwhere(front[1:] & front[:-1]):
            cv2.line(image, uv[step, edge].tolist(), uv[step + 1, edge].tolist(), colours[label].tolist(), 2,
                     cv2.LINE_AA)
        if front.any():
            top = uv[front][uv[front][:, 1].argmin()].clip((2, 12), (image.shape[1] - 60, image.shape[0] - 4))
            cv2.putText(image, names[label], top.tolist(), cv2.FONT_HERSHEY_SIMPLEX, .5, colours[label].tolist(), 1,
                        cv2.LINE_AA)
    return image


def point_colours(points: torch.Tensor, boxes: BaseInstance3DBoxes | None, labels: np.ndarray,
                  count: int) -> np.ndarray:
    """Colours of points (N, 3): of their object's class, or grey; without boxes by distance. (N, 3) uint8."""
    if boxes is not None and len(boxes):
        owner = owners(points, boxes).numpy()
        palette = np.append(class_colours(count)[labels], [[150, 150, 150]], 0)
        return palette[owner].astype(np.uint8)
    distance = points.norm(dim=1).numpy()
    scaled = np.rint(255 * (distance - distance.min()) / max(np.ptp(distance), 1e-6)).astype(np.uint8)
    return cv2.applyColorMap(255 - scaled[:, None], cv2.COLORMAP_JET)[:, 0, ::-1]


def titled(image: np.ndarray, title: str) -> np.ndarray:
    """An image with a title above."""
    bar = np.full((22, image.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, title, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, .5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([bar, image])


def picture(points: torch.Tensor, meta: dict, names: Sequence[str], truth: tuple | None = None,
            found: tuple | None = None) -> np.ndarray:
    """Projected points, true boxes and predicted boxes side by side.

    Args:
        points: (N, 3 or more), as in the sample.
        meta: Of the sample.
        names: Of the classes.
        truth, found: Boxes and labels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    image, meta, factor = first_view(meta)
    points = points[:, :3].cpu().float()
    boxes, labels = truth or (None, np.zeros(0, int))
    colours = point_colours(points, boxes, labels, len(names))
    columns = [titled(draw_points(image, points, colours, meta, factor), 'projected points')]
    for title, pair in (('truth', truth), ('prediction', found)):
        if pair is not None:
            columns.append(titled(draw_boxes(image, *pair, names, meta, factor), title))
    return np.concatenate(columns, 1)


@HOOKS.register_module()
class ProjectionPictureHook(Hook):
    """Draws test samples: projected points, truth and predictions of sufficient score.

    `tools/test.py --show-dir` and `--show` switch it on.

    Args:
        draw: Whether to draw at all.
        interval: Batches between two pictures.
        score_thr: Boxes of lower score are not drawn.
        show: Show each picture in a window.
        wait_time: Seconds that a window waits.
        test_out_dir: Folder for the files, relative to WORK_DIR/TIME/.
    """

    def __init__(self, draw: bool = False, interval: int = 1, score_thr: float = 0.3, show: bool = False,
                 wait_time: float = 0., test_out_dir: str | None = None) -> None:
        self.draw, self.interval, self.score_thr = draw, interval, score_thr
        self.show, self.wait_time, self.test_out_dir = show, wait_time, test_out_dir

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                        outputs: Sequence = ()) -> None:
        """Draw the samples of a batch."""
        if not self.draw or not self.every_n_inner_iters(batch_idx, self.interval):
            return
        names = runner.test_dataloader.dataset.metainfo['classes']
        for points, sample in zip(data_batch['inputs']['points'], outputs, strict=True):
            kept = (sample.pred_instances_3d.scores_3d > self.score_thr).cpu()
            found = (sample.pred_instances_3d.bboxes_3d.to('cpu')[kept],
                     sample.pred_instances_3d.labels_3d.cpu().numpy()[kept.numpy()])
            truth = sample.eval_ann_info and (sample.eval_ann_info['gt_bboxes_3d'],
                                              sample.eval_ann_info['gt_labels_3d'])
            image = picture(points, sample.metainfo, names, truth, found)
            name = Path(sample.metainfo.get('lidar_path', f'sample{batch_idx:06d}')).stem
            if self.test_out_dir:
                write_picture(Path(runner.log_dir) / self.test_out_dir / f'{name}.png', image)
            if self.show:
                Visualizer.get_current_instance().show(image, win_name=name, wait_time=self.wait_time)


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write an RGB image as PNG; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, encode_png(image))
