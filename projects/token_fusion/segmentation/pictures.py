"""Pictures of what was exchanged: the tokens that other modalities' took the place of, drawn over the modality."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from torch import Tensor

from projects.runtime.atomic import write_atomic
from projects.runtime.checkpoint_hooks import unwrap

from ..encoder import Scored

REPLACED = (0, 0, 255)  # BGR
_STRENGTH = 0.65
_TEXT_ROWS = 16
_MIN_WIDTH = 240  # of a picture, so that the line of text above it fits


def replaced_maps(scored: Sequence[Scored], threshold: float) -> list[Tensor]:
    """For each stage the share of its blocks in which a token was replaced, (M, B, rows, columns) in 0..1."""
    maps = []
    for stage in sorted({block.stage for block in scored}):
        blocks = [block for block in scored if block.stage == stage]
        share = torch.stack([(block.scores < threshold).float() for block in blocks]).mean(0)
        maps.append(share.unflatten(-1, blocks[0].grid))
    return maps


def modality_picture(planes: np.ndarray) -> np.ndarray:
    """A modality (channels, H, W) as a BGR picture: colours 0..255 as they are, one channel from near to far."""
    if len(planes) == 3:
        return np.ascontiguousarray(planes[::-1].transpose(1, 2, 0)).clip(0, 255).astype(np.uint8)
    values, known = planes[0], planes[0] > 0
    low, high = np.percentile(values[known], (1, 99)) if known.any() else (0, 1)
    shades = ((values - low) / max(high - low, 1e-6)).clip(0, 1) * 255
    picture = cv2.applyColorMap(255 - shades.astype(np.uint8), cv2.COLORMAP_TURBO)
    picture[~known] = 0
    return picture


def labels_picture(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Labels (H, W) in the classes' colours, BGR; others are black."""
    table = np.zeros((256, 3), dtype=np.uint8)
    table[:len(palette)] = np.asarray(palette, dtype=np.uint8)[:, ::-1]
    return table[labels.astype(np.uint8)]


def overlay(picture: np.ndarray, share: np.ndarray) -> np.ndarray:
    """A picture with the tokens (rows, columns) that were replaced in red, stronger where in more blocks."""
    height, width = picture.shape[:2]
    weight = cv2.resize(share, (width, height), interpolation=cv2.INTER_NEAREST)[..., None] * _STRENGTH
    return (picture * (1 - weight) + np.array(REPLACED) * weight).astype(np.uint8)


def captioned(picture: np.ndarray, text: str, size: tuple[int, int]) -> np.ndarray:
    """A picture of height and width ``size`` with a line of text above it."""
    picture = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_NEAREST)
    head = np.full((_TEXT_ROWS, size[1], 3), 255, dtype=np.uint8)
    cv2.putText(head, text, (2, _TEXT_ROWS - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([head, picture])


def sheet(inputs: dict[str, np.ndarray], sample: SegDataSample, maps: Sequence[np.ndarray],
          palette: Sequence[Sequence[int]], columns: int = 4) -> np.ndarray:
    """One picture of a sample, BGR.

    Args:
        inputs: Of each modality, (channels, H, W).
        sample: With predicted and, maybe, true labels.
        maps: Of each stage, (M, rows, columns), see ``replaced_maps``; none without exchange.
        palette: RGB colours of the classes.
        columns: Pictures side by side.
    """
    pictures = {name: modality_picture(planes) for name, planes in inputs.items()}
    tiles = list(pictures.items())
    if 'gt_sem_seg' in sample:
        tiles.append(('truth', labels_picture(sample.gt_sem_seg.data[0].cpu().numpy(), palette)))
    tiles.append(('prediction', labels_picture(sample.pred_sem_seg.data.squeeze().cpu().numpy(), palette)))
    blank = [('', np.full((1, 1, 3), 255, dtype=np.uint8))]
    for m, (name, picture) in enumerate(pictures.items() if len(maps) else ()):
        tiles += blank * (-len(tiles) % columns)
        tiles += [(f'{name}, stage {stage + 1}: {share[m].mean():.0%} replaced', overlay(picture, share[m]))
                  for stage, share in enumerate(maps)]
    tiles += blank * (-len(tiles) % columns)
    height, width = next(iter(pictures.values())).shape[:2]
    enlarge = max(1, -(-_MIN_WIDTH // width))
    size = (height * enlarge, width * enlarge)
    rows = [np.concatenate([captioned(picture, text, size) for text, picture in tiles[start:start + columns]], axis=1)
            for start in range(0, len(tiles), columns)]
    return np.concatenate(rows)


@HOOKS.register_module()
class TokenPictureHook(Hook):
    """Draws inputs, labels and replaced tokens of ``TokenFusionSegmentor``.

    In the test of as many images as wanted (``tools/test.py --show-dir``), in validation of the first ones, to
    ``WORK_DIR/TIME/tokens/``. With test-time augmentation and with windows replaced tokens are left out.

    Args:
        draw: Whether to draw in the test.
        interval: Images between two pictures of the test.
        show, wait_time: Show each picture in a window for so many seconds.
        test_out_dir: Folder for the pictures, relative to ``WORK_DIR/TIME/``.
        val_images: Number of images that are drawn in each validation.
    """

    def __init__(self, draw: bool = False, interval: int = 1, show: bool = False, wait_time: float = 0.,
                 test_out_dir: str | None = None, val_images: int = 4) -> None:
        self.draw, self.interval, self.show, self.wait_time = draw, interval, show, wait_time
        self.test_out_dir, self.val_images = test_out_dir, val_images
        self.scored: list[Scored] = []
        self.handle = None

    def watch(self, runner: Runner) -> None:
        """Keep the scores of the last forward pass, unless there are several of an image."""
        model = unwrap(runner.model)
        if not isinstance(runner.model, BaseTTAModel) and model.test_cfg.get('mode', 'whole') == 'whole':
            self.handle = model.backbone.register_forward_hook(self.keep)

    def keep(self, module, args, output) -> None:
        """Forward hook of the backbone."""
        self.scored = output[1]

    def unwatch(self) -> None:
        """Let go of the backbone and the scores."""
        if self.handle is not None:
            self.handle.remove()
        self.handle, self.scored = None, []

    def before_val(self, runner: Runner) -> None:
        """Begin to watch."""
        if self.val_images:
            self.watch(runner)

    def after_val(self, runner: Runner) -> None:
        """Stop watching."""
        self.unwatch()

    def before_test(self, runner: Runner) -> None:
        """Begin to watch."""
        if self.draw:
            self.watch(runner)

    def after_test(self, runner: Runner) -> None:
        """Stop watching."""
        self.unwatch()

    def pictures(self, runner: Runner, data_batch: dict, outputs: Sequence[SegDataSample]) -> list[np.ndarray]:
        """A picture of each sample of a batch."""
        backbone = unwrap(runner.model).backbone
        maps = [stage.cpu().numpy() for stage in replaced_maps(self.scored, backbone.threshold)]
        palette = Visualizer.get_current_instance().dataset_meta['palette']
        drawn = []
        for index, sample in enumerate(outputs):
            inputs = data_batch['inputs'][index]
            planes = (inputs[0] if isinstance(inputs, (list, tuple)) else inputs).cpu()
            names = dict(zip(backbone.channels, planes.split(list(backbone.channels.values())), strict=True))
            drawn.append(sheet({name: names[name].numpy() for name in backbone.used}, sample,
                               [stage[:, index] for stage in maps], palette))
        return drawn

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                       outputs: Sequence[SegDataSample] = ()) -> None:
        """Draw the first images."""
        if batch_idx * max(len(outputs), 1) >= self.val_images or not is_main_process():
            return
        for sample, picture in zip(outputs, self.pictures(runner, data_batch, outputs), strict=True):
            name = f'{Path(sample.img_path).stem}_{runner.iter}.jpg'
            save(Path(runner.log_dir) / 'tokens' / name, picture)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                        outputs: Sequence[SegDataSample] = ()) -> None:
        """Draw the images of a batch."""
        if not self.draw or not self.every_n_inner_iters(batch_idx, self.interval):
            return
        for sample, picture in zip(outputs, self.pictures(runner, data_batch, outputs), strict=True):
            if self.test_out_dir:
                save(Path(runner.log_dir) / self.test_out_dir / f'{Path(sample.img_path).stem}.jpg', picture)
            if self.show:
                Visualizer.get_current_instance().show(picture[..., ::-1], wait_time=self.wait_time)


def save(path: Path, picture: np.ndarray) -> None:
    """Write a BGR picture in one step."""
    write_atomic(path, cv2.imencode(path.suffix, picture)[1].tobytes())
