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
    cfg.resume, cfg.load_from = path is not None, path
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


def _import_plugin(cfg: Config) -> None:
    """Name `projects.runtime` under `custom_imports`, so that the dumped config runs by itself."""
    settings = cfg.get('custom_imports') or ConfigDict(imports=[], allow_failed_imports=False)
    imports = settings['imports']
    imports = [imports] if isinstance(imports, str) else list(imports)
    if _PLUGIN not in imports:
        settings['imports'] = [_PLUGIN, *imports]
        cfg.custom_imports = settings


def enable_drawing(cfg: Config, *, show: bool, show_dir: str | None, wait_time: float) -> None:
    """Draw predictions through the config's visualisation hook: in a window, into a folder.

    Raises:
        ConfigError: the config has no visualisation hook.
    """
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if hook is None:
        raise ConfigError(f'--show and --show-dir need default_hooks.visualization, which '
                          f'{cfg.filename} does not have. For detection add visualization='
                          'dict(type="DetVisualizationHook").')
    hook['draw'] = True
    if show:
        hook['show'] = True
        hook['wait_time'] = wait_time
    if show_dir:
        hook['test_out_dir'] = show_dir


def enable_tta(cfg: Config) -> None:
    """Wrap the model for test-time augmentation.

    Detection configs without `tta_model` and `tta_pipeline` get mmdet's default: the image and its
    mirror image, merged by NMS at 0.5, at most 100 boxes.

    Raises:
        ConfigError: another kind of config lacks one of the two.
    """
    missing = [key for key in ('tta_model', 'tta_pipeline') if key not in cfg]
    if missing and cfg.get('default_scope') != 'mmdet':
        raise ConfigError(f'--tta: {cfg.filename} lacks {" and ".join(missing)}; there is a '
                          'default for detection (mmdet) only.')
    datasets = split_datasets(cfg, ('test',))
    if 'tta_model' in missing:
        cfg.tta_model = dict(type='DetTTAModel', tta_cfg=dict(
            nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))
    if 'tta_pipeline' in missing:
        cfg.tta_pipeline = [*deepcopy(datasets[0].cfg['pipeline'][:-1]), _mirrored()]
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


def build_runner(cfg: Config) -> Runner:
    """The config's runner: its `runner_type`, or mmengine's `Runner`."""
    os.environ.setdefault('LOCAL_RANK', '0')
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
