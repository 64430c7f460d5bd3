"""The steps between a command line and a runner, each of which does one thing to a config."""

import os
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from .checkpoint_files import check_checkpoint, find_resume, is_remote
from .dataset_configs import split_datasets
from .errors import ConfigError

_PLUGIN = 'projects.runtime'
TTA_RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""Scales of test-time augmentation of segmentation, mmseg's."""


def set_work_dir(cfg: Config, work_dir: str | None, config_path: str) -> None:
    """Fix `cfg.work_dir`: the command line, else the config, else `work_dirs/CONFIG_NAME`."""
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(config_path).stem)


def enable_amp(cfg: Config) -> None:
    """Switch to automatic mixed precision with a dynamic loss scale.

    Raises:
        ConfigError: there is no device for it, or the config has an optimiser wrapper of its own.
    """
    device = get_device()
    if device in ('cpu', 'mps'):
        raise ConfigError(f'--amp: mixed precision needs a GPU, and this machine offers only '
                          f'"{device}". Leave the option out.')
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ConfigError(f'--amp replaces optim_wrapper.type OptimWrapper, but {cfg.filename} has '
                          f'{kind}, which would be lost. Leave the option out.')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.loss_scale = 'dynamic'


def enable_lr_scaling(cfg: Config) -> None:
    """Scale the learning rate by the real batch size over `auto_scale_lr.base_batch_size`."""
    settings = cfg.get('auto_scale_lr') or {}
    if 'base_batch_size' not in settings:
        raise ConfigError(
            f'--auto-scale-lr: {cfg.filename} does not say which batch size its learning rate '
            'belongs to. Add auto_scale_lr=dict(enable=False, base_batch_size=16), or give '
            '--cfg-options auto_scale_lr.base_batch_size=16.')
    cfg.auto_scale_lr.enable = True


def choose_resume(cfg: Config, resume: str | None) -> str | None:
    """Apply `--resume`: 'auto' looks in the work dir, a path is taken as it is, None does nothing.

    Where there is nothing to resume from, the run begins as without the option, from `load_from` if that is set.

    Returns:
        A sentence for the log, or None.

    Raises:
        CheckpointError: the file, or everything in the work dir, cannot be resumed from.
    """
    if resume is None:
        return None
    if resume != 'auto':
        check_checkpoint(resume, resume=True)
        cfg.resume, cfg.load_from = True, resume
        return f'Resuming from {resume}.'
    path, note = find_resume(cfg.work_dir)
    cfg.resume = path is not None
    if cfg.resume:
        cfg.load_from = path
    return note


def check_initial_weights(cfg: Config) -> None:
    """Look at the local files that the run will load weights from, before it starts.

    Those are `load_from` and every `init_cfg=dict(type='Pretrained', checkpoint=...)`.
    """
    if cfg.get('load_from'):
        check_checkpoint(cfg.load_from)
    for path in _pretrained(cfg.get('model')):
        if not is_remote(path):
            check_checkpoint(path)


def _pretrained(model: Any) -> list[str]:
    """Checkpoints named by the `init_cfg` of `model` and its parts."""
    if isinstance(model, (list, tuple)):
        return [path for part in model for path in _pretrained(part)]
    if not isinstance(model, dict):
        return []
    own = [model['checkpoint']] if model.get('type') == 'Pretrained' and isinstance(
        model.get('checkpoint'), str) else []
    return own + [path for part in model.values() for path in _pretrained(part)]


def use_atomic_saving(cfg: Config) -> None:
    """Replace a plain `CheckpointHook` by `AtomicCheckpointHook`, with the same settings."""
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    hook = hooks.setdefault('checkpoint', ConfigDict(type='CheckpointHook', interval=1))
    if hook is not None and hook.get('type') == 'CheckpointHook':
        hook['type'] = 'AtomicCheckpointHook'
        _import_plugin(cfg)


def add_match_check(cfg: Config, *, strict: bool) -> None:
    """Compare every loaded checkpoint with the model (`CheckpointMatchHook`)."""
    hooks = list(cfg.get('custom_hooks') or [])
    if not any(hook.get('type') == 'CheckpointMatchHook' for hook in hooks):
        hooks.append(ConfigDict(type='CheckpointMatchHook', strict=strict))
        cfg.custom_hooks = hooks
        _import_plugin(cfg)


def _import_plugin(cfg: Config, plugin: str = _PLUGIN) -> None:
    """Name a plugin under `custom_imports`, so that the dumped config runs by itself."""
    settings = cfg.get('custom_imports') or ConfigDict(imports=[], allow_failed_imports=False)
    imports = settings['imports']
    imports = [imports] if isinstance(imports, str) else list(imports)
    if plugin not in imports:
        settings['imports'] = [plugin, *imports]
        cfg.custom_imports = settings


def enable_drawing(cfg: Config, *, show: bool, show_dir: str | None, wait_time: float) -> None:
    """Draw predictions through the config's visualisation hook: in a window, into a folder.

    mmseg's own hook cannot be given a folder and draws one image in 50; `SegPictureHook` takes its place.

    Raises:
        ConfigError: the config has no visualisation hook.
    """
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if hook is None:
        raise ConfigError(f'--show and --show-dir need default_hooks.visualization, which '
                          f'{cfg.filename} does not have. For detection add visualization='
                          'dict(type="DetVisualizationHook").')
    if hook['type'] == 'SegVisualizationHook':
        hook['type'] = 'SegPictureHook'
        _import_plugin(cfg, 'projects.seg_data')
    hook['draw'] = True
    if show:
        hook['show'] = True
        hook['wait_time'] = wait_time
    if show_dir:
        hook['test_out_dir'] = show_dir


def enable_tta(cfg: Config) -> None:
    """Wrap the model for test-time augmentation.

    Configs without `tta_model` and `tta_pipeline` get a default. Detection: the image and its mirror image, merged by
    NMS at 0.5, at most 100 boxes. Segmentation: mmseg's six scales from 0.5 to 1.75 and their mirror images.

    Raises:
        ConfigError: another kind of config lacks one of the two.
    """
    scope = cfg.get('default_scope')
    missing = [key for key in ('tta_model', 'tta_pipeline') if key not in cfg]
    if missing and scope not in ('mmdet', 'mmseg'):
        raise ConfigError(f'--tta: {cfg.filename} lacks {" and ".join(missing)}; there is a '
                          'default for detection (mmdet) and segmentation (mmseg) only.')
    datasets = split_datasets(cfg, ('test',))
    if 'tta_model' in missing:
        cfg.tta_model = dict(type='SegTTAModel') if scope == 'mmseg' else dict(type='DetTTAModel', tta_cfg=dict(
            nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))
    if 'tta_pipeline' in missing:
        pipeline = deepcopy(datasets[0].cfg['pipeline'])
        cfg.tta_pipeline = _scaled(pipeline) if scope == 'mmseg' else [*pipeline[:-1], _mirrored()]
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    for dataset in datasets:
        dataset.cfg['pipeline'] = cfg.tta_pipeline


def _mirrored() -> dict[str, Any]:
    """The end of a detection test pipeline that yields an image and its mirror image."""
    meta = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip',
            'flip_direction')
    return dict(type='TestTimeAug', transforms=[
        [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)],
        [dict(type='PackDetInputs', meta_keys=meta)]])


def _scaled(pipeline: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A segmentation test pipeline that yields an image at several scales, each with its mirror image.

    The scales are relative to the size that the pipeline's own `Resize` leads to.
    """
    place = next((index for index, step in enumerate(pipeline) if step['type'] == 'Resize'), 1)
    resize = pipeline[place] if pipeline[place]['type'] == 'Resize' else None
    sizes = []
    for ratio in TTA_RATIOS:
        if resize is not None and resize.get('scale') is not None:
            sizes.append({**resize, 'scale': tuple(round(side * ratio) for side in resize['scale'])})
        else:
            factor = resize.get('scale_factor', 1.0) if resize is not None else 1.0
            sizes.append(dict(type='Resize', scale_factor=ratio * factor, keep_ratio=True))
    flips = [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)]
    rest = [[step] for step in pipeline[place + (resize is not None):]]
    return [*pipeline[:place], dict(type='TestTimeAug', transforms=[sizes, flips, *rest])]


def build_runner(cfg: Config) -> Runner:
    """The config's runner: its `runner_type`, or mmengine's `Runner`."""
    os.environ.setdefault('LOCAL_RANK', '0')
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
