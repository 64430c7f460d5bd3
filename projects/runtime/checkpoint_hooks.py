"""Hooks around checkpoints: saving that a kill cannot spoil, and loading that must match.

Both are registered in mmengine's root HOOKS, so that configs of every library can name them.
"""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import HOOKS
from torch import nn

from .atomic import remove_leftovers, write_atomic
from .checkpoint_files import is_remote
from .errors import CheckpointError

_SHOWN = 5
_MISMATCH = 'size mismatch for '


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's `CheckpointHook` for local folders, safe against a kill at any moment.

    - Checkpoints and `last_checkpoint` appear in one step (`projects.runtime.atomic`).
    - Outdated and former best checkpoints are deleted only after the new file is complete and
      `last_checkpoint` names it; mmengine deletes them first.
    - Temporary files of killed runs are deleted when training starts.

    A remote `out_dir` (`s3://...`) or explicit backend arguments keep mmengine's behaviour.
    The arguments are those of `CheckpointHook`.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._atomic = False

    def before_train(self, runner) -> None:
        """Choose the storage backend and clear what killed runs left."""
        out_dir = self.out_dir or runner.work_dir
        self._atomic = (self.file_client_args is None and not is_remote(out_dir)
                        and self.backend_args in (None, {'backend': 'atomic_local'}))
        if self._atomic:
            self.backend_args = {'backend': 'atomic_local'}
        super().before_train(runner)
        if self._atomic and self.save_best is not None:
            self._forget_best_of_other_runs(runner)
        if self._atomic and is_main_process():
            self._remove_outdated(runner)
            for folder in {str(self.out_dir), runner.work_dir}:
                for name in remove_leftovers(folder):
                    runner.logger.info(f'Removed an unfinished {name} of a killed run in {folder}.')

    def _forget_best_of_other_runs(self, runner) -> None:
        """Former best checkpoints are deleted when a better one comes: only those in the own folder may be.

        A run that goes on from another folder's checkpoint, or whose folder was copied, has stored the path of a file
        there.
        """
        for key in _best_keys(runner):
            own = self.file_backend.join_path(self.out_dir, Path(str(runner.message_hub.get_info(key))).name)
            path = own if self.file_backend.isfile(own) else None
            runner.message_hub.update_info(key, path)
            if key == 'best_ckpt':
                self.best_ckpt_path = path
            else:
                self.best_ckpt_path_dict[key.removeprefix('best_ckpt_')] = path

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        """Save, then point `last_checkpoint` at the file, then delete what is outdated."""
        if not self._atomic:
            super()._save_checkpoint_with_step(runner, step, meta)
            return
        self._note_step(runner, step)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir, name, save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler, meta=meta, by_epoch=self.by_epoch,
            backend_args=self.backend_args, **self.args)
        if is_main_process():
            write_atomic(f'{runner.work_dir}/last_checkpoint', self.last_ckpt)
            self._remove_outdated(runner)

    def _note_step(self, runner, step: int) -> None:
        """Enter `step` among the kept ones, which are stored with the checkpoint."""
        if self.max_keep_ckpts <= 0 or (self.keep_ckpt_ids and self.keep_ckpt_ids[-1] == step):
            return
        if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
            outdated = self.filename_tmpl.format(self.keep_ckpt_ids.popleft())
            self.file_backend.remove(self.file_backend.join_path(self.out_dir, outdated))
        self.keep_ckpt_ids.append(step)
        runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        """Save the best checkpoint; the former best one goes when the new one is there."""
        super()._save_best_checkpoint(runner, metrics)
        if self._atomic and is_main_process():
            self._remove_outdated(runner)

    def _remove_outdated(self, runner) -> None:
        kept = {runner.message_hub.get_info(key) for key in ('last_ckpt', *_best_keys(runner))
                if key in runner.message_hub.runtime_info}
        self.file_backend.remove_pending(keep={str(path) for path in kept})


def _best_keys(runner) -> list[str]:
    """Where the message hub keeps paths of best checkpoints: of the one metric, or of each of several."""
    return [key for key in runner.message_hub.runtime_info if key == 'best_ckpt' or key.startswith('best_ckpt_')]


def unwrap(model: nn.Module) -> nn.Module:
    """The network itself, without data-parallel and test-time-augmentation wrappers."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def compare_weights(model: nn.Module, weights: OrderedDict[str, torch.Tensor]
                    ) -> tuple[list[str], list[str], list[str]]:
    """Load `weights` into `model` and tell what did not fit.

    torch's own loading decides, so that a module's conversions of old keys count.

    Returns:
        Keys that the weights lack; sentences on keys of another shape; keys that the model lacks.
    """
    weights = weights.copy()
    differing: dict[str, str] = {}
    while True:
        try:
            result = model.load_state_dict(weights, strict=False)
            break
        except RuntimeError as error:
            lines = [line.strip() for line in str(error).splitlines()]
            found = {line.removeprefix(_MISMATCH).split(':')[0]: line.removeprefix(_MISMATCH)
                     for line in lines if line.startswith(_MISMATCH)}
            if not found.keys() & weights.keys():
                raise
            differing.update(found)
            for key in found:
                weights.pop(key, None)
    missing = [key for key in result.missing_keys if key not in differing]
    return missing, list(differing.values()), list(result.unexpected_keys)


def _first(items: list[str]) -> str:
    more = f' and {len(items) - _SHOWN} more' if len(items) > _SHOWN else ''
    return '; '.join(items[:_SHOWN]) + more


def _summary(missing: list[str], differing: list[str], unexpected: list[str], total: int) -> str:
    parts = [f'{total - len(missing) - len(differing)} of the model\'s {total} entries are found '
             'in the checkpoint']
    for items, label in ((missing, 'missing in the checkpoint'), (differing, 'of another shape'),
                         (unexpected, 'unknown to the model')):
        if items:
            parts.append(f'{len(items)} {label}: {_first(items)}')
    return '\n- '.join(parts)


def match_weights(model: nn.Module, checkpoint: Mapping[str, Any], *, strict: bool) -> str | None:
    """Load a checkpoint's weights into `model` and judge how they fit.

    Args:
        model: network, possibly wrapped.
        checkpoint: what a checkpoint file holds: weights under `state_dict`, or bare.
        strict: whether any missing or differently shaped entry is an error; otherwise only the
            case that nothing fits is one.

    Returns:
        A warning that counts what does not fit, or None.

    Raises:
        CheckpointError: as `strict` says.
    """
    model = unwrap(model)
    weights = checkpoint.get('state_dict', checkpoint)
    stripped = OrderedDict((key.removeprefix('module.'), value) for key, value in weights.items())
    if hasattr(weights, '_metadata'):
        stripped._metadata = weights._metadata
    missing, differing, unexpected = compare_weights(model, stripped)
    total = len(model.state_dict())
    unfit = len(missing) + len(differing)
    nothing_fits = len(unexpected) + len(differing) == len(stripped)
    summary = _summary(missing, differing, unexpected, total)
    if unfit and (strict or nothing_fits):
        raise CheckpointError(
            f'The checkpoint does not fit the config\'s model ({type(model).__name__}): {summary}\n'
            'Is this the checkpoint of another model, or of another number of classes?')
    return summary if unfit or unexpected else None


@HOOKS.register_module()
class CheckpointMatchHook(Hook):
    """Compare a loaded checkpoint's keys and shapes with the model's.

    mmengine only prints what did not fit and goes on, so that a checkpoint of another model tests
    as random weights. Here, with `strict` (testing, resuming), any missing or differently shaped
    entry is an error; without it (training from `load_from`), it is one counted warning, and an
    error only if nothing fits. Keys that the model lacks are a warning in either case.

    Args:
        strict: see above.

    Raises:
        CheckpointError: from `after_load_checkpoint`.
    """

    priority = 'VERY_LOW'  # after EMAHook has exchanged the averaged weights

    def __init__(self, strict: bool = True) -> None:
        self.strict = strict

    def after_load_checkpoint(self, runner, checkpoint: dict[str, Any]) -> None:
        """Judge `checkpoint`, which the runner is about to load."""
        warning = match_weights(runner.model, checkpoint, strict=self.strict)
        if warning:
            runner.logger.warning(warning)
