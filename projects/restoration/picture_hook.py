"""The hook behind `tools/test.py --show-dir`: pictures of a test run, and the restored images themselves."""

import os

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from projects.runtime.atomic import write_atomic
from projects.runtime.errors import ConfigError
from projects.runtime.image_bytes import encode_png

from .pictures import to_uint8


@HOOKS.register_module()
class RestorationVisualizationHook(Hook):
    """Draw every image of a test run, side by side with its input, bicubic interpolation and truth.

    Files are called after the image and lie in a folder called after the set (`dataset_type` of its metainfo). Relative
    folders count from WORK_DIR/TIME/.

    Args:
        draw (bool): Whether to draw; `--show` and `--show-dir` switch it on.
        show (bool): In windows.
        wait_time (float): Seconds to show each window.
        test_out_dir (str, optional): Folder for pictures.
        pred_out_dir (str, optional): Folder for the restored images alone, as 8-bit PNG; written whatever `draw` says.

    Raises:
        ConfigError: two sets of one name would overwrite each other's files.
    """

    def __init__(self, draw=False, show=False, wait_time=0.0, test_out_dir=None, pred_out_dir=None):
        self.draw, self.show, self.wait_time = draw, show, wait_time
        self.test_out_dir, self.pred_out_dir = test_out_dir, pred_out_dir
        self._sets = {}

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Draw and write the images of a batch."""
        if not self.draw and self.pred_out_dir is None:
            return
        dataset = runner.test_dataloader.dataset
        name = (getattr(dataset, 'metainfo', None) or {}).get('dataset_type', 'test')
        if self._sets.setdefault(name, dataset) is not dataset:
            raise ConfigError(f'two test sets are called {name!r}, so their pictures would overwrite each other: give '
                              'the data sets different metainfo=dict(dataset_type=...).')
        for sample in outputs:
            if self.pred_out_dir is not None:
                write_atomic(self._file(runner, self.pred_out_dir, name, sample), encode_png(to_uint8(sample.pred_img)))
            if self.draw:
                out_file = self.test_out_dir and self._file(runner, self.test_out_dir, name, sample)
                runner.visualizer.add_datasample(f'{name}/{sample.key}', None, sample, show=self.show,
                                                 wait_time=self.wait_time, out_file=out_file, step=batch_idx)

    @staticmethod
    def _file(runner, folder, name, sample):
        return os.path.join(runner.work_dir, runner.timestamp, folder, name, f'{sample.key}.png')
