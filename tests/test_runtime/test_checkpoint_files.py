"""Refusing checkpoints: unsafe, broken, not there; and choosing the one to resume from."""

import pickle

import pytest
import torch

import projects.runtime  # noqa: F401 (allow-lists what mmengine stores)
from projects.runtime.checkpoint_files import check_checkpoint, find_resume, read_checkpoint, read_weights
from projects.runtime.errors import CheckpointError


class Payload:
    """Unpickles to a call of `open(path, 'w')`, which leaves a file behind."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, 'w')


def full_checkpoint(path, step=1):
    """What a resumable checkpoint holds, as small as can be."""
    torch.save(dict(meta=dict(epoch=step), state_dict=dict(w=torch.ones(2)), optimizer={},
                    message_hub={}), path)
    return path


@pytest.mark.parametrize('zipped', [True, False])
def test_malicious_pickle_is_refused_and_does_not_run(tmp_path, zipped):
    trace, path = tmp_path / 'trace', tmp_path / 'evil.pth'
    torch.save(dict(state_dict=dict(w=torch.ones(2)), extra=Payload(trace)), path,
               _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match='execute code') as refusal:
        read_checkpoint(path)
    assert 'io.open' in str(refusal.value) or 'open' in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert not trace.exists()
    torch.load(path, weights_only=False)  # the payload is real
    assert trace.exists()


def test_plain_pickle_is_refused_and_does_not_run(tmp_path):
    trace, path = tmp_path / 'trace', tmp_path / 'evil.pkl'
    path.write_bytes(pickle.dumps(Payload(trace)))
    with pytest.raises(CheckpointError, match='evil.pkl'):
        read_checkpoint(path)
    assert not trace.exists()


def test_missing_file_names_its_neighbours(tmp_path):
    full_checkpoint(tmp_path / 'epoch_3.pth')
    with pytest.raises(CheckpointError, match=r'epoch_4\.pth: no such.*epoch_3\.pth'):
        check_checkpoint(tmp_path / 'epoch_4.pth')
    with pytest.raises(CheckpointError, match='folder .* does not exist'):
        check_checkpoint(tmp_path / 'nowhere' / 'epoch_4.pth')


@pytest.mark.parametrize('kept, reason', [(0, 'empty'), (0.3, 'truncated'), (0.99, 'truncated')])
def test_broken_file(tmp_path, kept, reason):
    path = full_checkpoint(tmp_path / 'epoch_1.pth')
    content = path.read_bytes()
    path.write_bytes(content[:int(len(content) * kept)])
    with pytest.raises(CheckpointError, match=rf'epoch_1\.pth: .*{reason}'):
        check_checkpoint(path)


def test_file_without_weights(tmp_path):
    torch.save(dict(meta={}, results=[1, 2]), tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match="no state_dict.*'meta', 'results'"):
        check_checkpoint(tmp_path / 'other.pth')


def test_weights_of_other_code(tmp_path):
    path, weights = tmp_path / 'other.pth', dict(w=torch.ones(2))
    for content in (weights, dict(state_dict=weights), dict(model=weights, optimizer=dict(state={}), epoch=3)):
        torch.save(content, path)
        assert torch.equal(read_weights(path)['w'], weights['w'])
    with pytest.raises(CheckpointError, match="under 'model'.*converter"):
        read_checkpoint(path)
    torch.save(dict(params=weights, params_ema=weights), path)
    with pytest.raises(CheckpointError, match='several keys .params, params_ema.'):
        read_weights(path)
    torch.save(dict(results=[1, 2]), path)
    with pytest.raises(CheckpointError, match="no state_dict.*'results'"):
        read_weights(path)


def test_bare_state_dict_can_be_tested_but_not_resumed(tmp_path):
    torch.save(dict(w=torch.ones(2)), tmp_path / 'bare.pth')
    check_checkpoint(tmp_path / 'bare.pth')
    with pytest.raises(CheckpointError, match='lacks meta, state_dict, optimizer, message_hub'):
        check_checkpoint(tmp_path / 'bare.pth', resume=True)


def test_urls_are_left_to_mmengine():
    check_checkpoint('https://example.org/model.pth')


def test_resume_takes_what_last_checkpoint_names(tmp_path):
    for step in (1, 2):
        full_checkpoint(tmp_path / f'epoch_{step}.pth', step)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    assert find_resume(tmp_path)[0] == str(tmp_path / 'epoch_1.pth')


@pytest.mark.parametrize('moved', [True, False])
def test_resume_follows_a_folder_that_was_moved_or_copied(tmp_path, moved):
    for name in ['run'] if moved else ['run', 'former']:
        (tmp_path / name).mkdir()
        full_checkpoint(tmp_path / name / 'epoch_1.pth')
    (tmp_path / 'run/last_checkpoint').write_text(str(tmp_path / 'former/epoch_1.pth'))
    assert find_resume(tmp_path / 'run')[0] == str(tmp_path / 'run/epoch_1.pth')


def test_resume_finds_checkpoints_kept_elsewhere(tmp_path):
    for name in ('run', 'elsewhere'):
        (tmp_path / name).mkdir()
    full_checkpoint(tmp_path / 'elsewhere/epoch_1.pth')
    (tmp_path / 'run/last_checkpoint').write_text(str(tmp_path / 'elsewhere/epoch_1.pth'))
    assert find_resume(tmp_path / 'run')[0] == str(tmp_path / 'elsewhere/epoch_1.pth')


def test_resume_passes_over_a_broken_file_and_says_so(tmp_path):
    full_checkpoint(tmp_path / 'epoch_1.pth')
    (tmp_path / 'epoch_2.pth').write_bytes(b'')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    path, sentence = find_resume(tmp_path)
    assert path == str(tmp_path / 'epoch_1.pth')
    assert 'epoch_2.pth' in sentence and 'empty' in sentence


def test_resume_of_nothing_starts_anew_but_never_over_broken_files(tmp_path):
    path, sentence = find_resume(tmp_path / 'none')
    assert path is None and 'starting a new run' in sentence
    (tmp_path / 'epoch_2.pth').write_bytes(b'')
    with pytest.raises(CheckpointError, match='nothing was done'):
        find_resume(tmp_path)
