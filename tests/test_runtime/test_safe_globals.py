"""The allow-list: exactly what mmengine stores passes torch's check, and nothing more."""

import zipfile

import pytest
import torch
from mmengine.logging import HistoryBuffer

from projects.runtime.safe_globals import STATISTICS, allow_mmengine_globals


@pytest.fixture
def checkpoint(toy_runner, tmp_path):
    """A checkpoint with all that mmengine saves: Adam, schedulers, EMA, best score, message hub."""
    toy_runner(custom_hooks=[dict(type='EMAHook')]).train()
    return tmp_path / 'run' / 'epoch_3.pth'


@pytest.fixture
def no_allowed_globals():
    """torch's own list only, for the time of a test."""
    torch.serialization.clear_safe_globals()
    yield
    allow_mmengine_globals()


def pickled(path):
    """The pickle inside a checkpoint."""
    with zipfile.ZipFile(path) as archive:
        return archive.read('archive/data.pkl')


def rewritten(path, out, old, new):
    """A copy of a checkpoint in which the pickled text `old` reads `new`."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, 'w', zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith('/data.pkl'):
                assert old in content
                content = content.replace(old, new)
            target.writestr(name, content)
    return out


def test_mmengine_checkpoint_loads_with_the_check_on(checkpoint):
    content = torch.load(checkpoint, weights_only=True)
    assert {'meta', 'state_dict', 'message_hub', 'optimizer', 'param_schedulers',
            'ema_state_dict'} <= content.keys()
    losses = content['message_hub']['log_scalars']['train/loss']
    assert isinstance(losses, HistoryBuffer)
    assert losses.mean() == pytest.approx(losses.data[0].mean())


def test_without_the_list_torch_refuses_what_mmengine_wrote(checkpoint, no_allowed_globals):
    refused = set(torch.serialization.get_unsafe_globals_in_checkpoint(checkpoint))
    assert 'mmengine.logging.history_buffer.HistoryBuffer' in refused
    assert 'builtins.getattr' in refused


def test_checkpoint_written_with_the_other_numpy_generation_loads(checkpoint, tmp_path):
    """numpy 2 writes `numpy._core`, numpy 1 `numpy.core`; either reads both."""
    written = b'cnumpy.core.multiarray\n'
    other = b'cnumpy._core.multiarray\n'
    if written not in pickled(checkpoint):
        written, other = other, written
    torch.load(rewritten(checkpoint, tmp_path / 'other.pth', written, other), weights_only=True)


@pytest.mark.parametrize('name', [b'__init__', b'__setstate__', b'update', b'__dict__'])
def test_getattr_gives_nothing_but_statistics(checkpoint, tmp_path, name):
    """`getattr(HistoryBuffer, X)` in a checkpoint is refused for any other X."""
    assert name.decode() not in STATISTICS
    old = b'X\x04\x00\x00\x00mean'
    assert old in pickled(checkpoint)
    # the key 'mean' of the table and the looked-up name share one pickled string
    forged = rewritten(checkpoint, tmp_path / 'forged.pth', old,
                       b'X' + len(name).to_bytes(4, 'little') + name)
    with pytest.raises(Exception, match='only the statistics methods'):
        torch.load(forged, weights_only=True)


def test_getattr_on_another_object_is_refused(checkpoint, tmp_path):
    """`getattr(numpy.ndarray, 'mean')` is refused too."""
    old = b'cmmengine.logging.history_buffer\nHistoryBuffer\n'
    forged = rewritten(checkpoint, tmp_path / 'forged.pth', old, b'cnumpy\nndarray\n')
    with pytest.raises(Exception, match='only the statistics methods|unrecognized|ndarray'):
        torch.load(forged, weights_only=True)
