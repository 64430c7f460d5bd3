"""The hook behind `tools/test.py --show-dir`: pictures of tests, and of a few scenes at each validation."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from projects.runtime.atomic import write_atomic
from projects.runtime.image_bytes import encode_png

from .pictures import draw_translation, to_uint8
from .sample import TranslationSample


def file_name(key: str) -> str:
    """A list's line as a file name."""
    return re.sub(r'\W+', '_', os.path.splitext(key.replace('{domain}', ''))[0]).strip('_') + '.png'


@HOOKS.register_module()
class TranslationPictureHook(Hook):
    """Draws inputs, replaced tokens, branches, ensemble and target side by side.

    Files are called after the scene. Relative folders count from WORK_DIR/TIME/.

    Args:
        draw: Whether test runs are drawn; ``--show`` and ``--show-dir`` switch it on.
        show, wait_time: In windows, for so many seconds.
        test_out_dir: Folder for pictures of a test.
        pred_out_dir: Folder for the ensemble's images alone, as 8-bit PNG; written whatever ``draw`` says.
        val_pictures: Number of scenes that are drawn at each validation, into ``val_pictures/STEP/``.
    """

    def __init__(self, draw: bool = False, show: bool = False, wait_time: float = 0., test_out_dir: str | None = None,
                 pred_out_dir: str | None = None, val_pictures: int = 0) -> None:
        self.draw, self.show, self.wait_time = draw, show, wait_time
        self.test_out_dir, self.pred_out_dir = test_out_dir, pred_out_dir
        self.val_pictures, self._drawn = val_pictures, 0

    def before_val_epoch(self, runner) -> None:
        """Begin to count pictures."""
        self._drawn = 0

    def after_val_iter(self, runner, batch_idx: int, data_batch=None,
                       outputs: Sequence[TranslationSample] | None = None) -> None:
        """Draw the first scenes of this process's share."""
        for sample in outputs[:max(0, self.val_pictures - self._drawn)]:
            self._drawn += 1
            self._write(runner, os.path.join('val_pictures', str(runner.iter)), sample, draw_translation(sample))

    def after_test_iter(self, runner, batch_idx: int, data_batch=None,
                        outputs: Sequence[TranslationSample] | None = None) -> None:
        """Draw the scenes of a batch and write their images."""
        for sample in outputs:
            if self.pred_out_dir is not None:
                self._write(runner, self.pred_out_dir, sample, to_uint8(sample.pred_img))
            if not self.draw:
                continue
            picture = draw_translation(sample)
            if self.show:
                runner.visualizer.show(picture, win_name=sample.key, wait_time=self.wait_time)
            if self.test_out_dir is not None:
                self._write(runner, self.test_out_dir, sample, picture)

    @staticmethod
    def _write(runner, folder: str, sample: TranslationSample, picture) -> None:
        write_atomic(os.path.join(runner.work_dir, runner.timestamp, folder, file_name(sample.key)),
                     encode_png(picture))
