"""Checkpoint files: can this one be loaded safely, and which one does a run resume from?

Every file is read with torch's `weights_only` check on and memory-mapped, so that looking at a
checkpoint costs little and runs none of its code.
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.runner import CheckpointLoader

from .errors import CheckpointError

RESUME_KEYS = ('meta', 'state_dict', 'optimizer', 'message_hub')
"""What a checkpoint must hold for a run to go on from it."""

_REFUSED = re.compile(r'GLOBAL ([\w.]+)')
_REMOTE = re.compile(r'^[\w.+-]+://')


def is_remote(path: str | Path) -> bool:
    """Whether `path` is a URL (`https://`, `s3://`, `torchvision://`...), not a local file."""
    return _REMOTE.match(str(path)) is not None


def _refused_names(path: Path, error: Exception) -> list[str]:
    """Names of all classes and functions in the file that the check refuses."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (RuntimeError, ValueError, pickle.UnpicklingError, AttributeError):
        names = []  # torch's former, unzipped format: the loader's message names the first one
    return sorted(set(names)) or _REFUSED.findall(str(error))


def _refusal(path: Path, error: Exception) -> CheckpointError:
    names = _refused_names(path, error)
    named = ', '.join(names) if names else str(error).splitlines()[0]
    return CheckpointError(
        f'{path}: refused. The file asks for {named}, which is not among the classes that '
        'mmengine stores in checkpoints. Loading it without the check would execute code chosen by '
        'whoever wrote the file.\n'
        'If you trust its origin, load it once on a machine you can afford to lose with '
        'torch.load(path, weights_only=False) and save its state_dict alone; or, if the name is a '
        'plain class of yours, allow it with torch.serialization.add_safe_globals([...]) in a '
        'module listed under custom_imports in the config.')


def _broken(path: Path, error: Exception) -> CheckpointError:
    size = path.stat().st_size
    reason = 'the file is empty' if size == 0 else (
        f'the file ({size:,} bytes) is truncated or not a PyTorch checkpoint '
        f'({str(error).splitlines()[0] if str(error) else type(error).__name__})')
    return CheckpointError(
        f'{path}: cannot be read: {reason}. Copy or download it again, or take an older '
        f'checkpoint (epoch_*.pth, iter_*.pth) of the same run.')


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint, a local one memory-mapped, on the CPU and with the `weights_only` check on.

    URLs are left to mmengine, which keeps what it downloads.

    Raises:
        CheckpointError: not there, empty, truncated, refused by the check, or without weights; the
            message names the file, the reason and the way out.
    """
    content = _read(path)
    if _weights(content) is None:
        nested = _nested_weights(content)
        hint = f' Other code keeps its weights under {nested[0]!r}, as here: use the converter of that model in ' \
            'tools/model_converters.' if len(nested) == 1 else ''
        raise _without_weights(path, content, hint)
    return content


def read_weights(path: str | Path) -> Mapping[str, torch.Tensor]:
    """The named tensors of a checkpoint of whatever code, for converters.

    They are under `state_dict`, or bare, or under the only other key that holds nothing but tensors
    (`model`, `params`, `segmenter`...).

    Raises:
        CheckpointError: as in `read_checkpoint`; several keys hold weights.
    """
    content = _read(path)
    weights = _weights(content)
    if weights is not None:
        return weights
    nested = _nested_weights(content)
    if len(nested) != 1:
        names = ', '.join(map(str, nested))
        hint = f' Weights are under several keys ({names}): save the right ones alone.' if nested else ''
        raise _without_weights(path, content, hint)
    return content[nested[0]]


def _read(path: str | Path) -> Any:
    """Whatever a local file, or one behind a URL, holds."""
    if is_remote(path):
        return CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    path = Path(path).expanduser()
    if not path.is_file():
        folder = path.parent
        beside = sorted(file.name for file in folder.glob('*.pth')) if folder.is_dir() else []
        hint = f'In {folder}/ there are: {", ".join(beside[:8])}.' if beside else (
            f'There are no .pth files in {folder}/.' if folder.is_dir()
            else f'The folder {folder}/ does not exist either.')
        raise CheckpointError(f'{path}: no such checkpoint file. {hint}')
    with open(path, 'rb') as file:
        zipped = file.read(2) == b'PK'  # only these can be memory-mapped
    try:
        return torch.load(path, map_location='cpu', weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        if 'global' in str(error).lower() or 'reduce' in str(error):
            raise _refusal(path, error) from error
        raise _broken(path, error) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        raise _broken(path, error) from error


def _weights(content: Any) -> Mapping[str, torch.Tensor] | None:
    """Named tensors under `state_dict`, or bare."""
    weights = content.get('state_dict', content) if isinstance(content, Mapping) else None
    named = isinstance(weights, Mapping) and any(isinstance(value, torch.Tensor) for value in weights.values())
    return weights if named else None


def _nested_weights(content: Any) -> list[str]:
    """Keys under which there is nothing but named tensors."""
    if not isinstance(content, Mapping):
        return []
    return [key for key, part in content.items() if isinstance(part, Mapping) and part
            and all(isinstance(value, torch.Tensor) for value in part.values())]


def _without_weights(path: str | Path, content: Any, hint: str) -> CheckpointError:
    found = f'keys {sorted(map(str, content))[:8]}' if isinstance(content, Mapping) else f'a {type(content).__name__}'
    return CheckpointError(f'{path}: no state_dict in this file. Expected a dict with the key "state_dict", or a dict '
                           f'of named tensors; found {found}.{hint}')


def check_checkpoint(path: str | Path, *, resume: bool = False) -> None:
    """Raise `CheckpointError` unless the file can be loaded (and, with `resume`, resumed from).

    URLs are left to mmengine.
    """
    if is_remote(path):
        return
    content = read_checkpoint(path)
    missing = [key for key in RESUME_KEYS if key not in content]
    if resume and missing:
        raise CheckpointError(
            f'{path}: a run cannot be resumed from this file, it lacks {", ".join(missing)}. '
            'Best and published checkpoints hold weights only; use the epoch_*.pth or iter_*.pth '
            'of the run, or start a new run from these weights with --cfg-options load_from=PATH.')


def _step(path: Path) -> int:
    digits = re.search(r'_(\d+)$', path.stem)
    return int(digits[1]) if digits else -1


def _candidates(work_dir: Path) -> list[Path]:
    """Files to resume from: the one `last_checkpoint` names, then the others, newest first."""
    saved = [path for pattern in ('epoch_*.pth', 'iter_*.pth') for path in work_dir.glob(pattern)]
    saved.sort(key=lambda path: (path.stat().st_mtime, _step(path)), reverse=True)
    pointer = work_dir / 'last_checkpoint'
    named = pointer.read_text(encoding='utf-8').strip() if pointer.is_file() else ''
    if not named:
        return saved
    last = work_dir / Path(named).name  # also right if the folder was moved or copied
    if not last.is_file():
        last = Path(named)  # checkpoints kept elsewhere: `out_dir` of the hook
    return [last, *(path for path in saved if path != last)]


def find_resume(work_dir: str | Path) -> tuple[str | None, str]:
    """Choose the checkpoint that `--resume` goes on from.

    Returns:
        Its path, or None if the folder holds no checkpoint at all, and a sentence for the log.

    Raises:
        CheckpointError: there are checkpoints, and none of them can be resumed from.
    """
    work_dir = Path(work_dir)
    candidates = _candidates(work_dir)
    refused = []
    for path in candidates:
        try:
            check_checkpoint(path, resume=True)
        except CheckpointError as error:
            refused.append(str(error))
            continue
        skipped = f' ({len(refused)} newer could not be used: {refused[0]})' if refused else ''
        return str(path), f'Resuming from {path}{skipped}.'
    if refused:
        raise CheckpointError(
            f'{work_dir}: --resume found no checkpoint that can be resumed from. Rather than start '
            'anew over an unfinished run, nothing was done. Train into another --work-dir, or '
            'remove these files:\n- ' + '\n- '.join(refused))
    return None, f'Nothing to resume in {work_dir}: starting a new run.'
