"""What the command-line tools share: common arguments, and how an error reaches the user."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable

from mmengine.config import DictAction
from torch import distributed

from .errors import UserError
from .launch import stop_distributed

TRACEBACK_VARIABLE = 'MMDOWNSTREAM_TRACEBACK'
"""Environment variable; set to 1, errors of the user show their traceback as well."""

CFG_OPTIONS_HELP = (
    'settings of the config to change, as key=value, for example optim_wrapper.optimizer.lr=0.01. '
    'Lists are written key="[a,b]" or key=a,b; nested ones key="[(a,b),(c,d)]", quoted and without '
    'spaces. Two short options are for your own data: data_root=/path/ moves all paths of the '
    'data sets and metrics there (a PASCAL VOC config also takes a single VOC folder), and '
    'classes=a,b,c sets the class names of the data sets and the number of classes of the heads.')


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--work-dir`, `--cfg-options`, `--launcher`, `--local-rank`, as in OpenMMLab's tools."""
    parser.add_argument('--work-dir', help='folder for logs and results; '
                        'default: work_dirs/CONFIG_NAME')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help=CFG_OPTIONS_HELP)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='how the processes were started (the shell scripts set it)')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help=argparse.SUPPRESS)


def parse(parser: argparse.ArgumentParser, arguments: list[str] | None = None
          ) -> argparse.Namespace:
    """Parse a command line and make LOCAL_RANK known to mmengine."""
    try:
        args = parser.parse_args(arguments)
    except ValueError as error:  # mmengine's DictAction, on an option without '='
        parser.error(f'--cfg-options: expected KEY=VALUE pairs ({error})')
    os.environ.setdefault('LOCAL_RANK', str(getattr(args, 'local_rank', 0)))
    args.cfg_options = args.cfg_options or {}
    return args


def user_message(error: UserError) -> str:
    """The error's message, without the traceback of a data loader's worker process around it."""
    message = str(error)
    if 'Original Traceback (most recent call last)' in message:
        message = message.rpartition(f'{type(error).__name__}: ')[2].rstrip()
    return message


def _rank() -> int:
    """This process's number, if several know of each other or are about to."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank()
    return int(os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')))


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool's main function; print a `UserError` as one message and exit with status 1.

    Before the processes of a run are connected, all of them meet the same error, and the first one
    reports it; afterwards each speaks for itself.
    """
    try:
        main()
    except UserError as error:
        connected = distributed.is_available() and distributed.is_initialized()
        if os.environ.get(TRACEBACK_VARIABLE) == '1':
            traceback.print_exc()
        rank = _rank()
        if rank == 0 or connected:
            prefix = f'[process {rank}] ' if rank else ''
            print(f'\n{prefix}error: {user_message(error)}', file=sys.stderr, flush=True)
        sys.exit(1)
    stop_distributed()
