"""Reading dumped predictions: what belongs there loads, what could run code does not."""
import io
import pickle

import numpy as np
import pytest
import torch

from projects.leaderboards import SubmissionError, load_results


@pytest.mark.parametrize('protocol', [2, 4, 5])
def test_a_dump_loads_with_its_tensors_arrays_and_bytes(tmp_path, protocol):
    wide = torch.arange(20.).reshape(4, 5)
    content = [dict(
        view=wide[:, :4], half=torch.ones(2, dtype=torch.float16), ids=torch.tensor([3, 2 ** 40]),
        array=np.arange(6, dtype='>f4').reshape(2, 3), transposed=np.arange(6).reshape(2, 3).T,
        scalar=np.float32(.5), flag=np.bool_(True), rle=dict(size=[1, 2], counts=b'\x00\xff0'),
        ori_shape=(3, 4), tags={'a'})]
    path = tmp_path / 'preds.pkl'
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    loaded, = load_results(path)
    for key in ('view', 'half', 'ids'):
        assert torch.equal(loaded[key], content[0][key])
        assert loaded[key].dtype == content[0][key].dtype
    for key in ('array', 'transposed'):
        np.testing.assert_array_equal(loaded[key], content[0][key])
    for key in ('scalar', 'flag', 'rle', 'ori_shape', 'tags'):
        assert loaded[key] == content[0][key]


class Call:
    """Pickles as a call of ``function`` with ``args``."""

    def __init__(self, function, *args):
        self.value = function, args

    def __reduce__(self):
        return self.value


def object_pointer_array():
    """An array whose eight raw bytes would be taken for a pointer to an object."""
    dtype = np.dtype('O', False, True)
    dtype.__setstate__((3, '|', None, None, None, -1, -1, 0))
    state = (1, (1,), dtype, False, b'A' * 8)

    class Array(Call):
        def __reduce__(self):
            return np.core.multiarray._reconstruct, (np.ndarray, (0,), b'b'), state
    return Array(None)


@pytest.mark.parametrize('kind, message', [
    ('eval', r'refused to load (builtins|__builtin__)\.eval'),
    ('open', r'refused to load (io|_io|builtins|__builtin__)\.open'),
    ('tensor bytes', 'not a readable pickle of predictions .*[Ww]eights'),
    ('object dtype', "numpy dtype 'O8?', expected numbers or text"),
])
@pytest.mark.parametrize('protocol', [2, 4])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path, kind, message,
                                                                 protocol):
    marker = tmp_path / 'executed'
    opener = Call(open, str(marker), 'w')
    if kind == 'eval':
        payload = Call(eval, f'open({str(marker)!r}, "w")')
    elif kind == 'tensor bytes':
        inner = io.BytesIO()
        torch.save(opener, inner, _use_new_zipfile_serialization=False)
        payload = Call(torch.storage._load_from_bytes, inner.getvalue())
    else:
        payload = opener if kind == 'open' else object_pointer_array()
    path = tmp_path / 'preds.pkl'
    path.write_bytes(pickle.dumps([dict(img_id=1, extra=payload)], protocol=protocol))
    with pytest.raises(SubmissionError, match=message):
        load_results(path)
    assert not marker.exists()
    if kind in ('eval', 'open', 'tensor bytes'):  # the payload is a live one
        pickle.loads(path.read_bytes())
        assert marker.exists()


@pytest.mark.parametrize('content, message', [
    (None, 'no such file; write the predictions with tools/test.py'),
    (b'', 'not a readable pickle .*is it cut off'),
    (pickle.dumps([dict(img_id=1)])[:-5], 'not a readable pickle .*is it cut off'),
    (pickle.dumps(dict(img_id=1)), 'holds a dict, expected a list'),
])
def test_unreadable_predictions_are_named(tmp_path, content, message):
    path = tmp_path / 'preds.pkl'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SubmissionError, match=message):
        load_results(path)
