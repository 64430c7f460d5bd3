"""Starting one of several processes: NCCL through mmengine on GPUs, gloo without.

mmengine's own start calls `torch.cuda.set_device`, and its runner hands GPU numbers to the
data-parallel wrapper; both fail on a machine without CUDA. There, the gloo process group is made
before the runner, which finds it and makes no other, and the wrapper is configured for the CPU.
The launcher stays set: with `launcher='none'` mmengine 0.10.7 would not wrap the model, and every
process would train on its own share of the data without exchanging gradients.
"""

import os
from datetime import timedelta
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from torch import distributed

from .errors import ConfigError

_SYNCHRONISED = ('SyncBN', 'MMSyncBN', 'mmcv.SyncBN', 'SyncBatchNorm')
_TORCHRUN = ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')


def _check_torchrun() -> None:
    missing = [name for name in _TORCHRUN if name not in os.environ]
    if missing:
        raise ConfigError(
            f'--launcher pytorch: the environment lacks {", ".join(missing)}, which torchrun sets. '
            'Start with tools/dist_train.sh CONFIG N or tools/dist_test.sh CONFIG CHECKPOINT N.')


def _check_gpus() -> None:
    local_rank, gpus = int(os.environ.get('LOCAL_RANK', '0')), torch.cuda.device_count()
    if local_rank >= gpus:
        raise ConfigError(
            f'--launcher pytorch: process {local_rank} of this machine has no GPU, only {gpus} '
            'are visible. Start at most as many processes as GPUs, or look at '
            'CUDA_VISIBLE_DEVICES.')


def _plain_batch_norm(part: Any) -> int:
    """Turn all `type='SyncBN'` below a part of a config into BN; their number."""
    if isinstance(part, dict):
        own = part.get('type') in _SYNCHRONISED
        if own:
            part['type'] = 'BN'
        return own + sum(_plain_batch_norm(value) for value in part.values())
    return sum(_plain_batch_norm(value) for value in part) if isinstance(part, (list, tuple)) else 0


def start_distributed(cfg: Config, launcher: str) -> None:
    """Prepare `cfg` for `launcher`, and start the gloo group if there is no CUDA device.

    Args:
        cfg: changed in place: `launcher`, and without CUDA `model_wrapper_cfg` and synchronised norms, which torch
            refuses there.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.

    Raises:
        ConfigError: the launcher does not fit the machine or the environment.
    """
    cfg.launcher = launcher
    if launcher == 'none':
        return
    if launcher == 'pytorch':
        _check_torchrun()
    if get_device() not in ('cpu', 'mps'):
        if launcher == 'pytorch' and torch.cuda.is_available():
            _check_gpus()
        return
    if launcher != 'pytorch':
        raise ConfigError(
            f'--launcher {launcher} needs GPUs, and none is visible. Without a GPU use '
            'tools/dist_train.sh, which starts processes by torchrun and connects them by gloo.')
    changed = _plain_batch_norm(cfg.get('model'))
    if changed and os.environ.get('RANK') == '0':
        print('Note: synchronised batch norm (SyncBN) needs GPUs. It is BN here: in training each process takes the '
              'statistics of its own images.')
    timeout = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout', 1800)
    distributed.init_process_group('gloo', timeout=timedelta(seconds=timeout))
    wrapper = dict(type='MMDistributedDataParallel', broadcast_buffers=False,
                   find_unused_parameters=cfg.get('find_unused_parameters', False))
    wrapper.update(cfg.get('model_wrapper_cfg') or {}, device_ids=None)
    cfg.model_wrapper_cfg = wrapper


def stop_distributed() -> None:
    """Leave the process group, so that the processes end in an orderly way."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
