"""From a config to a model and to what it takes: a built network, a drawn scene, images of a data set."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DATASETS, MODELS, TRANSFORMS, init_default_scope
from torch import nn

from projects.runtime.checkpoint_files import read_checkpoint
from projects.runtime.checkpoint_hooks import match_weights
from projects.runtime.errors import ConfigError

SPACING = 0.025
"""Metres between the points of :func:`drawn_scene`."""


def build_model(cfg: Config, device: str = 'cpu', checkpoint: str | None = None) -> nn.Module:
    """The config's model in evaluation mode, without its initial weights.

    Of a search model for pruning, the network that it searches in.

    Args:
        cfg: its scope becomes the default one.
        device: 'meta' builds without memory, where the model allows it.
        checkpoint: weights of every part; needs the CPU.

    Raises:
        CheckpointError: the checkpoint is unreadable or of another model.
    """
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    try:
        with torch.device(device):
            model = MODELS.build(cfg.model)
    except (RuntimeError, NotImplementedError):
        if device == 'cpu':
            raise
        model = MODELS.build(cfg.model)  # it computes with its own values while it is built
    if checkpoint is not None:
        match_weights(model, read_checkpoint(checkpoint), strict=True)
    if hasattr(model, 'folded'):
        model = model.folded()
    return revert_sync_batchnorm(model).eval().to(device)


def drawn_scene() -> np.ndarray:
    """The corner of a room with a box in it, (N, 6) float32: metres, and colours in 0..255; always the same points."""
    def rectangle(origin, first, second):
        steps = [np.arange(0, np.linalg.norm(side), SPACING) for side in (first, second)]
        a, b = (values.ravel()[:, None] for values in np.meshgrid(*steps))
        return np.array(origin) + a * np.array(first) / np.linalg.norm(first) + b * np.array(second) / np.linalg.norm(
            second)

    x, y, z = np.eye(3)
    faces = [rectangle((0, 0, 0), 3.2 * x, 2.4 * y), rectangle((0, 0, 0), 3.2 * x, 2 * z),
             rectangle((0, 0, 0), 2.4 * y, 2 * z), rectangle((1, 1, 0.7), 0.8 * x, 0.6 * y),
             rectangle((1, 1, 0), 0.8 * x, 0.7 * z), rectangle((1, 1.6, 0), 0.8 * x, 0.7 * z),
             rectangle((1, 1, 0), 0.6 * y, 0.7 * z), rectangle((1.8, 1, 0), 0.6 * y, 0.7 * z)]
    colours = np.repeat(np.linspace(40, 220, len(faces)), [len(face) for face in faces])
    points = np.concatenate(faces) - (1.6, -1.5, 1)  # in front of a camera at the origin that looks along y
    return np.column_stack([points, np.repeat(colours[:, None], 3, 1)]).astype(np.float32)


def _pictures(step: dict[str, Any]) -> dict[str, Any]:
    """What a loading step of images leaves: black ones, and the way from points to pixels.

    A camera at the origin looks along y; 530 pixels of focal length, as in SUN RGB-D.
    """
    width, height = step.get('scale') or (730, 530)
    to_pixels = np.array([[530, width / 2, 0], [0, height / 2, -530], [0, 1, 0]], np.float32)
    image, shapes = np.zeros((height, width, 3), np.float32), dict(img_shape=(height, width), ori_shape=(height, width))
    if 'num_views' not in step:
        return dict(img=image, img_path='drawn', depth2img=to_pixels, **shapes)
    views, matrix = step['num_views'], np.eye(4, dtype=np.float32)
    matrix[:3, :3] = to_pixels
    return dict(img=[image] * views, img_path=['drawn'] * views, depth2img=np.stack([matrix] * views),
                scale_factor=(1.0, 1.0), **shapes)


def scene_batch(cfg: Config) -> dict[str, Any]:
    """:func:`drawn_scene`, with black images where they are asked for, as the config's test pipeline prepares it.

    Steps that load are replaced.

    Raises:
        ConfigError: the pipeline asks for more than that.
    """
    from mmdet3d.structures import Box3DMode, DepthInstance3DBoxes, DepthPoints

    results = dict(axis_align_matrix=np.eye(4, dtype=np.float32), box_type_3d=DepthInstance3DBoxes,
                   box_mode_3d=Box3DMode.DEPTH)
    columns, rest = 6, []
    for step in cfg.test_dataloader.dataset.pipeline:
        if not step['type'].startswith('Load'):
            rest.append(TRANSFORMS.build(step))
        elif step['type'] in ('LoadImageFromFile', 'LoadViews'):
            results.update(_pictures(step))
        elif 'use_dim' in step:
            columns = step['use_dim'] if isinstance(step['use_dim'], int) else len(step['use_dim'])
    colours = dict(color=[3, 4, 5]) if columns == 6 else None
    points = torch.from_numpy(drawn_scene()[:, :columns])
    results['points'] = DepthPoints(points, points_dim=columns, attribute_dims=colours)
    try:
        return pseudo_collate([Compose(rest)(results)])
    except KeyError as error:
        raise ConfigError(f'{cfg.filename}: its test pipeline needs {error} of a sample, which the drawn scene lacks. '
                          'Give --dataset') from error


def dataset_batches(cfg: Config, number: int) -> Iterator[dict[str, Any]]:
    """Batches of one image or scene from the config's (first) test set, evenly spread over it.

    Args:
        cfg: with `test_dataloader`, a dict or a list of dicts.
        number: of batches; at most the whole set. 0: all.

    Raises:
        ConfigError: the config has no test set, or it is empty.
    """
    loader = cfg.get('test_dataloader')
    loader = loader[0] if isinstance(loader, (list, tuple)) and loader else loader
    if not loader:
        raise ConfigError(f'{cfg.filename}: no test_dataloader, so --dataset has no images. Leave --dataset out')
    dataset = DATASETS.build(loader['dataset'])
    if not len(dataset):
        raise ConfigError(f'{cfg.filename}: test_dataloader.dataset is empty, expected at least one image')
    number = min(number or len(dataset), len(dataset))
    for index in range(number):
        yield pseudo_collate([dataset[index * len(dataset) // number]])
