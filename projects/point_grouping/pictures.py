"""Pictures of predicted instances: a coloured point cloud (PLY) and a PNG with two views, the truth beside it."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from mmdet3d.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from projects.runtime.atomic import write_atomic
from projects.runtime.image_bytes import encode_png

from .metrics import to_numpy
from .precision_recall import flatten

GREY = 205
SAME = 0.25
"""IoU from which on a predicted instance gets the colour of the true one."""
CUT = 0.8
"""Share of the height above which nothing is drawn: a ceiling would hide the room."""
VIEWS = {'from above': (0., 90.), 'from a side': (35., 40.)}
"""Turn about z and elevation of the eye, in degrees."""


def instance_colours(count: int) -> np.ndarray:
    """Colours that differ from their neighbours in the list: (count, 3) uint8 RGB."""
    number = np.arange(count)
    # hues a golden angle apart; strength and light change after a few turns
    hsv = np.stack([number * 137.508 % 360 / 2, 255 - number // 7 % 3 * 60, 235 - number // 3 % 3 * 45], 1)
    return cv2.cvtColor(np.rint(hsv).astype(np.uint8)[None], cv2.COLOR_HSV2RGB)[0]


def paint(instances: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Colour of each point, (n, 3) uint8: that of its instance, or grey where that is -1."""
    return np.append(colours, np.full((1, 3), GREY, np.uint8), 0)[instances]


def matching_colours(predicted: np.ndarray, true: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Colours for predicted and true instances: a pair that fits has one colour.

    Args:
        predicted: (n,) instance of each point, -1 for none.
        true: (n,) alike.
        count: number of predicted instances.

    Returns:
        (count, 3) and (true instances, 3) uint8.
    """
    total = int(true.max(initial=-1)) + 1
    both = (predicted >= 0) & (true >= 0)
    common = np.bincount(predicted[both] * total + true[both], minlength=count * total).reshape(count, total)
    sizes = [np.bincount(ids[ids >= 0], minlength=number) for ids, number in ((predicted, count), (true, total))]
    ious = common / np.maximum(sizes[0][:, None] + sizes[1] - common, 1)
    colours = instance_colours(total + count)
    own = colours[total:].copy()
    for index, row in enumerate(ious):
        best = int(row.argmax()) if total else -1
        if total and row[best] >= SAME and ious[:, best].argmax() == index:
            own[index] = colours[best]
    return own, colours[:total]


def write_ply(path: str | Path, xyz: np.ndarray, rgb: np.ndarray, instances: np.ndarray, labels: np.ndarray) -> None:
    """Write a point cloud for a viewer such as MeshLab or CloudCompare; binary.

    Args:
        path: file; its folder exists.
        xyz: (n, 3) coordinates.
        rgb: (n, 3) uint8.
        instances: (n,) kept as the property `instance`, -1 for none.
        labels: (n,) kept as the property `label`.
    """
    fields = [*((axis, '<f4', 'float') for axis in 'xyz'),
              *((name, 'u1', 'uchar') for name in ('red', 'green', 'blue')),
              *((name, '<i4', 'int') for name in ('instance', 'label'))]
    rows = np.empty(len(xyz), dtype=[(name, kind) for name, kind, _ in fields])
    for (name, _, _), column in zip(fields, (*xyz.T, *rgb.T, instances, labels), strict=True):
        rows[name] = column
    header = ['ply', 'format binary_little_endian 1.0', f'element vertex {len(rows)}',
              *(f'property {kind} {name}' for name, _, kind in fields), 'end_header\n']
    write_atomic(path, '\n'.join(header).encode() + rows.tobytes())


def render(xyz: np.ndarray, rgb: np.ndarray, turn: float, elevation: float, side: int = 480) -> np.ndarray:
    """Draw points in parallel projection, near ones over far ones.

    Args:
        xyz: (n, 3).
        rgb: (n, 3) uint8.
        turn, elevation: of the eye, in degrees; 90 is from above.
        side: pixels of the picture along each axis.

    Returns:
        (side, side, 3) uint8 RGB on white.
    """
    image = np.full((side, side, 3), 255, np.uint8)
    if not len(xyz):
        return image
    a, e = np.radians([turn, elevation])
    right = np.array([np.cos(a), np.sin(a), 0])
    towards = np.array([np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), np.sin(e)])
    plane = xyz @ np.stack([right, -np.cross(towards, right)], 1)
    low, high = plane.min(0), plane.max(0)
    size = int(np.clip(np.sqrt(side * side / len(xyz)) * 1.3, 2, 9))
    scale = (side - size) * 0.96 / max((high - low).max(), 1e-6)
    corner = np.rint((plane - (low + high) / 2) * scale + (side - size) / 2).astype(np.int64)
    order = np.argsort(xyz @ towards)
    # all pixels of a point have its depth; of several values for a pixel, NumPy keeps the last
    steps = np.stack(np.meshgrid(range(size), range(size)), -1).reshape(-1, 2)
    pixels = (corner[order][:, None] + steps).reshape(-1, 2)
    image[pixels[:, 1], pixels[:, 0]] = np.repeat(rgb[order], len(steps), 0)
    return image


def picture(xyz: np.ndarray, columns: dict[str, np.ndarray], side: int = 480) -> np.ndarray:
    """The views of a scene in rows, in the given colours side by side.

    Args:
        xyz: (n, 3).
        columns: title to (n, 3) uint8 RGB.
        side: pixels of each drawing.

    Returns:
        uint8 RGB.
    """
    low, high = xyz[:, 2].min(), xyz[:, 2].max()
    shown = xyz[:, 2] <= low + CUT * (high - low)
    rows = []
    for view, (turn, elevation) in VIEWS.items():
        drawn = [render(xyz[shown], rgb[shown], turn, elevation, side) for rgb in columns.values()]
        for image, title in zip(drawn, columns, strict=True):
            cv2.putText(image, f'{title}, {view}', (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        rows.append(np.concatenate(drawn, 1))
    return np.concatenate(rows)


@HOOKS.register_module()
class GroupingPictureHook(Hook):
    """Draws test scenes: `SCENE.png`, and the predicted instances as `SCENE.ply`.

    `tools/test.py --show-dir` and `--show` switch it on.

    Args:
        draw (bool): whether to draw at all.
        interval (int): scenes between two pictures.
        show (bool): show each picture in a window.
        wait_time (float): seconds that a window waits.
        test_out_dir (str, optional): folder for the files, relative to WORK_DIR/TIME/.
    """

    def __init__(self, draw: bool = False, interval: int = 1, show: bool = False, wait_time: float = 0.,
                 test_out_dir: str | None = None) -> None:
        self.draw, self.interval, self.show, self.wait_time = draw, interval, show, wait_time
        self.test_out_dir = test_out_dir

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                        outputs: Sequence = ()) -> None:
        """Draw the scenes of a batch."""
        if not self.draw or not self.every_n_inner_iters(batch_idx, self.interval):
            return
        for points, sample in zip(data_batch['inputs']['points'], outputs, strict=True):
            name = Path(sample.metainfo.get('lidar_path', f'scene{batch_idx:05d}')).stem
            xyz, columns, predicted = self.colours(points, sample)
            image = picture(xyz, columns)
            if self.test_out_dir:
                folder = Path(runner.log_dir) / self.test_out_dir
                folder.mkdir(parents=True, exist_ok=True)
                write_atomic(folder / f'{name}.png', encode_png(image))
                write_ply(folder / f'{name}.ply', xyz, columns['prediction'], predicted,
                          to_numpy(sample.pred_pts_seg.pts_semantic_mask))
            if self.show:
                Visualizer.get_current_instance().show(image, win_name=name, wait_time=self.wait_time)

    @staticmethod
    def colours(points, sample) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
        """What is drawn of a scene.

        Args:
            points: (n, 6) tensor, metres and colours in -1..1.
            sample: with `pred_pts_seg`, and `eval_ann_info` where there is a truth.

        Returns:
            Coordinates (n, 3); title to colours (n, 3); predicted instance of each point (n,), the best one of
            overlapping ones, -1 for none.
        """
        points, found = to_numpy(points), sample.pred_pts_seg
        masks = to_numpy(found.pts_instance_mask)
        predicted = flatten(masks, to_numpy(found.instance_scores))
        columns = dict(scan=np.rint((points[:, 3:] + 1) * 127.5).clip(0, 255).astype(np.uint8))
        truth = (getattr(sample, 'eval_ann_info', None) or {}).get('pts_instance_mask')
        true = np.full(len(points), -1) if truth is None else to_numpy(truth)
        own, other = matching_colours(predicted, true, len(masks))
        if truth is not None:
            columns['truth'] = paint(true, other)
        columns['prediction'] = paint(predicted, own)
        return points[:, :3], columns, predicted
