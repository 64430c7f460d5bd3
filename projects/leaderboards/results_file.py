"""Reading the predictions that ``tools/test.py --out preds.pkl`` writes, without trusting them.

The file is a plain pickle (mmengine's ``DumpResults``, protocol 2), and a plain pickle can run
any code when it is loaded. Here only what such a file really holds is allowed: containers,
torch tensors and numpy arrays of numbers. Two places need more than a list of names:

- a tensor's storage is stored as ``torch.storage._load_from_bytes(data)``, which calls
  ``torch.load`` with its check off; here the same bytes are loaded with ``weights_only=True``;
- a crafted numpy ``dtype`` state can make an array take raw bytes for object pointers, so
  dtypes are rebuilt from their name and may be numeric or text only.
"""
from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from .progress import reading
from .report import SubmissionError

_PLAIN_TYPES = (bytearray, bytes, complex, frozenset, range, set, slice)


class RefusedGlobal(pickle.UnpicklingError):
    """The pickle names a function or class that predictions do not need."""


def _encode(text: str, encoding: str) -> bytes:
    # Protocol 2 writes bytes as latin-1 text; no other codec is needed.
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'bytes stored in encoding {encoding!r}, expected latin1')
    return text.encode('latin1')


def _storage(data: bytes) -> Any:
    import torch
    return torch.load(io.BytesIO(data), map_location='cpu', weights_only=True)


def _tensor(*args: Any) -> Any:
    import torch
    return torch._utils._rebuild_tensor_v2(*args)


class _Dtype:
    """Stands for a pickled ``numpy.dtype``: its kind is checked, its flags are never taken."""

    def __init__(self, name: str, align: Any = False, copy: Any = False) -> None:
        self.dtype = np.dtype(name)
        if self.dtype.kind not in 'biufcSU':
            raise pickle.UnpicklingError(f'numpy dtype {name!r}, expected numbers or text')

    def __setstate__(self, state: tuple) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array whose pickled state carries a :class:`_Dtype`."""

    def __setstate__(self, state: tuple) -> None:
        version, shape, dtype, fortran, data = state
        super().__setstate__((version, shape, dtype.dtype, fortran, data))


def _reconstruct(kind: str, shape: tuple, code: bytes) -> np.ndarray:
    return _Array.__new__(_Array, shape, 'b')


def _frombuffer(data: bytes, dtype: _Dtype, shape: tuple, order: str) -> np.ndarray:
    return np.frombuffer(data, dtype=dtype.dtype).reshape(shape, order=order)


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    return np.frombuffer(data, dtype=dtype.dtype, count=1)[0]


def _allowed() -> dict[tuple[str, str], Any]:
    table = {
        ('collections', 'OrderedDict'): OrderedDict,
        ('_codecs', 'encode'): _encode,
        ('torch._utils', '_rebuild_tensor_v2'): _tensor,
        ('torch.storage', '_load_from_bytes'): _storage,
        ('numpy', 'dtype'): _Dtype,
        ('numpy', 'ndarray'): 'numpy.ndarray',  # an argument of _reconstruct, never called
    }
    for module in ('builtins', '__builtin__'):
        table.update({(module, kind.__name__): kind for kind in _PLAIN_TYPES})
    for core in ('numpy.core', 'numpy._core'):  # before and since numpy 2
        table[f'{core}.multiarray', '_reconstruct'] = _reconstruct
        table[f'{core}.multiarray', 'scalar'] = _scalar
        table[f'{core}.numeric', '_frombuffer'] = _frombuffer
    return table


class RestrictedUnpickler(pickle.Unpickler):
    """Loads containers, tensors and numeric arrays; raises :class:`RefusedGlobal` on others."""

    _table = _allowed()

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a global of the allow-list."""
        try:
            return self._table[module, name]
        except KeyError:
            raise RefusedGlobal(f'{module}.{name}') from None


def load_results(path: str | Path) -> list[dict]:
    """Load predictions written by ``tools/test.py --out`` (mmdet's ``DumpDetResults``).

    Args:
        path: The pickle file.

    Returns:
        One dict per image, with ``img_id``, ``img_path``, ``ori_shape`` (height, width) and
        ``pred_instances`` (``bboxes`` (n, 4), ``scores`` (n,), ``labels`` (n,), CPU tensors).

    Raises:
        SubmissionError: The file is missing, is not a list of dicts, is cut off, or holds
            anything but containers, tensors and numeric arrays. Nothing in it is executed.
    """
    path = Path(path)
    if not path.is_file():
        raise SubmissionError(path, [
            'no such file; write the predictions with tools/test.py CONFIG CHECKPOINT --out FILE'])
    try:
        results = _load(path)
    except RefusedGlobal as error:
        raise SubmissionError(path, [
            f'refused to load {error}: predictions hold containers, tensors and numeric arrays '
            'only, and any other name in a pickle can run code; if you trust the file, write '
            'it again as plain dicts of tensors (tools/test.py --out does)']) from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise SubmissionError(path, [
            f'not a readable pickle of predictions ({type(error).__name__}: {error}); is it cut '
            'off? write it again with tools/test.py --out']) from error
    if not isinstance(results, list):
        raise SubmissionError(path, [
            f'holds a {type(results).__name__}, expected a list with one dict per image'])
    return results


def _load(path: Path) -> Any:
    with (open(path, 'rb', buffering=0) as stream,
          reading(stream, path.stat().st_size, 'reading') as reader):
        return RestrictedUnpickler(reader).load()
