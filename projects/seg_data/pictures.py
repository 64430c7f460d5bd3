"""Pictures of segmentation: labels drawn over the image, the truth beside them."""

from collections.abc import Sequence
from pathlib import Path

import mmcv
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample


@HOOKS.register_module()
class SegPictureHook(Hook):
    """Draws test images with their predicted labels, and the true ones on the left where there are some.

    In place of mmseg's `SegVisualizationHook`, whose pictures go to the visualizer's backends and show one image in 50;
    `tools/test.py --show-dir` and `--show` switch to it.

    Args:
        draw (bool): whether to draw at all.
        interval (int): images between two pictures.
        show (bool): show each picture in a window.
        wait_time (float): seconds that a window waits.
        test_out_dir (str, optional): folder for the pictures, relative to WORK_DIR/TIME/.
    """

    def __init__(self, draw: bool = False, interval: int = 1, show: bool = False, wait_time: float = 0.,
                 test_out_dir: str | None = None) -> None:
        self.draw, self.interval, self.show, self.wait_time = draw, interval, show, wait_time
        self.test_out_dir = test_out_dir

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                        outputs: Sequence[SegDataSample] = ()) -> None:
        """Draw the images of a batch."""
        if not self.draw or not self.every_n_inner_iters(batch_idx, self.interval):
            return
        painter = Visualizer.get_current_instance()
        for sample in outputs:
            path, target = Path(sample.img_path), None
            if self.test_out_dir:
                target = Path(runner.log_dir) / self.test_out_dir / f'{path.stem}.jpg'
                target.parent.mkdir(parents=True, exist_ok=True)
            painter.add_datasample(path.name, mmcv.imread(str(path), channel_order='rgb'), data_sample=sample.cpu(),
                                   show=self.show, wait_time=self.wait_time, out_file=target and str(target),
                                   with_labels=False)
