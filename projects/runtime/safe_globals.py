"""The classes that mmengine stores in checkpoints, allow-listed for torch's `weights_only` check.

torch 2.6 and later refuse to load a checkpoint that names any class or function outside a short
list, since unpickling an arbitrary one can run code. mmengine 0.10.7 does not keep to that list:
its message hub, saved with every checkpoint, holds `HistoryBuffer` objects (the logged scalars)
made of numpy arrays, numpy scalars (the best score), and the buffers' statistics methods. So it
cannot load what it has just written (open-mmlab/mmengine#1655).

`allow_mmengine_globals` adds exactly those. The names were found by saving checkpoints of mmengine
with optimiser, schedulers, EMA, best score and message hub, and listing what the check refused:

- `mmengine.logging.history_buffer.HistoryBuffer`;
- numpy's array and scalar rebuilders, `ndarray`, `dtype` and the dtype classes of numbers and
  booleans, under the module names of both numpy 1 and numpy 2, so that a file written with one
  loads with the other;
- `getattr`, but not as such: a buffer pickles its methods as `getattr(HistoryBuffer, 'mean')`. The
  builtin in an attacker's hands reaches module globals, hence `history_buffer_method` stands in
  for it, which hands out those methods and refuses everything else.

The list is process-wide in torch. Nothing here switches the check off.
"""

from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

STATISTICS = frozenset({'current', 'max', 'mean', 'min'})
"""The methods that every `HistoryBuffer` stores."""

NUMBER_TYPES = (np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32,
                np.uint64, np.float16, np.float32, np.float64)


def history_buffer_method(owner: Any, name: str) -> Any:
    """Stand in for `getattr` in checkpoints: a statistics method of `HistoryBuffer`, nothing else.

    Raises:
        pickle.UnpicklingError: for any other object or attribute.
    """
    if owner is HistoryBuffer and name in STATISTICS:
        return getattr(HistoryBuffer, name)
    raise UnpicklingError(
        f'Unsupported global: GLOBAL builtins.getattr({owner!r}, {name!r}): only the statistics '
        f'methods {sorted(STATISTICS)} of mmengine\'s HistoryBuffer may be looked up')


def _numpy_globals() -> list:
    """Rebuilders and types of numpy arrays, named as numpy 1 and as numpy 2 write them."""
    rebuild = np.empty(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    named = [(function, f'{module}.multiarray.{name}')
             for module in ('numpy.core', 'numpy._core')
             for function, name in ((rebuild, '_reconstruct'), (scalar, 'scalar'))]
    dtype_classes = {type(np.dtype(number)) for number in NUMBER_TYPES}
    return [*named, np.ndarray, np.dtype, *sorted(dtype_classes, key=repr)]


def allow_mmengine_globals() -> None:
    """Allow-list what mmengine stores in checkpoints; calling it again changes nothing."""
    torch.serialization.add_safe_globals([
        HistoryBuffer, (history_buffer_method, 'builtins.getattr'), *_numpy_globals()])
