"""What converters of released checkpoints share: reading whatever the other code saved, errors that name the file, and
a checkpoint that `tools/test.py` and `init_cfg` take."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from .atomic import atomic_file
from .checkpoint_files import read_weights
from .errors import CheckpointError


def parse_conversion(description: str, epilog: str) -> argparse.Namespace:
    """`source` and `target` from the command line."""
    parser = argparse.ArgumentParser(description=description, epilog=epilog,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='released checkpoint: a state_dict, or a dict that holds one')
    parser.add_argument('target', type=Path, help='checkpoint to write')
    return parser.parse_args()


def convert_file(source: Path, target: Path, convert: Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor]],
                 meta: dict[str, Any] | None = None) -> dict[str, torch.Tensor]:
    """Convert the weights in `source` and write them to `target`.

    Args:
        convert: the new state_dict of the old one; it may fill `meta`, which is written after it.
        meta: of the new checkpoint, beside `converted_from`.

    Returns:
        The new state_dict.

    Raises:
        CheckpointError: `source` cannot be read, or holds other weights than `convert` expects.
    """
    weights = read_weights(source)
    try:
        state = convert(weights)
    except (ValueError, CheckpointError) as error:
        raise CheckpointError(f'{source}: {error}') from None
    with atomic_file(target) as file:
        torch.save(dict(meta=dict(converted_from=source.name, **(meta or {})), state_dict=state), file)
    return state
