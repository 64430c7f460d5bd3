"""Saving never leaves a run without a checkpoint; loading never takes a foreign one."""

import pytest
import torch

from projects.runtime import atomic
from projects.runtime.checkpoint_files import read_checkpoint
from projects.runtime.errors import CheckpointError


def checkpoints(folder):
    return sorted(path.name for path in folder.glob('*.pth'))


def test_only_the_newest_and_the_best_checkpoint_stay(toy_runner, tmp_path):
    toy_runner().train()
    run = tmp_path / 'run'
    assert checkpoints(run) == ['best_score_epoch_3.pth', 'epoch_3.pth']
    assert (run / 'last_checkpoint').read_text() == str(run / 'epoch_3.pth')
    hub = read_checkpoint(run / 'epoch_3.pth')['message_hub']['runtime_info']
    assert hub['keep_ckpt_ids'] == [3]
    assert hub['best_ckpt'] == str(run / 'best_score_epoch_3.pth')


@pytest.mark.parametrize('victim', ['epoch_2.pth', 'best_score_epoch_2.pth', 'last_checkpoint'])
def test_a_failing_save_leaves_the_former_files(toy_runner, tmp_path, monkeypatch, victim):
    """At the moment a file is about to appear, what it replaces is still there and loads."""
    run, replace, saved = tmp_path / 'run', atomic.os.replace, []

    def failing(source, target):
        saved.append(str(target))
        if str(target).endswith(victim) and len(saved) > 3:
            raise OSError('disk full')
        replace(source, target)

    monkeypatch.setattr(atomic.os, 'replace', failing)
    with pytest.raises(OSError, match='disk full'):
        toy_runner().train()
    last = (run / 'last_checkpoint').read_text()
    assert read_checkpoint(last)['meta']['epoch'] in (1, 2)
    assert 'best_score_epoch_1.pth' in checkpoints(run)
    read_checkpoint(run / 'best_score_epoch_1.pth')


def test_going_on_elsewhere_leaves_the_other_run_its_best_checkpoint(toy_runner, tmp_path):
    """The path of the former best checkpoint is stored; a run that goes on in another folder must not delete it."""
    toy_runner(train_cfg=dict(by_epoch=True, max_epochs=2)).train()
    former = checkpoints(tmp_path / 'run')
    assert 'best_score_epoch_2.pth' in former
    toy_runner(work_dir=str(tmp_path / 'other'), load_from=str(tmp_path / 'run/epoch_2.pth'), resume=True).train()
    assert checkpoints(tmp_path / 'run') == former
    assert checkpoints(tmp_path / 'other') == ['best_score_epoch_3.pth', 'epoch_3.pth']


def test_fewer_kept_checkpoints_when_resuming(toy_runner, tmp_path):
    """With a lower max_keep_ckpts, a resumed run deletes the superfluous ones of the former run."""
    hook = dict(type='AtomicCheckpointHook', interval=1, max_keep_ckpts=3)
    toy_runner(default_hooks=dict(checkpoint=hook)).train()
    assert len(checkpoints(tmp_path / 'run')) == 3
    toy_runner(default_hooks=dict(checkpoint={**hook, 'max_keep_ckpts': 1}), resume=True,
               train_cfg=dict(by_epoch=True, max_epochs=4)).train()
    assert checkpoints(tmp_path / 'run') == ['epoch_4.pth']


def test_resumed_run_equals_an_uninterrupted_one(toy_runner, tmp_path):
    """Weights, optimiser and scheduler go on where they were (the data order is fixed)."""
    plain = dict(train_dataloader=toy_loader())
    whole = toy_runner(**plain, work_dir=str(tmp_path / 'whole')).train().state_dict()
    toy_runner(**plain, train_cfg=dict(by_epoch=True, max_epochs=2)).train()
    resumed = toy_runner(**plain, resume=True).train().state_dict()
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=0, atol=0)


def toy_loader():
    from torch.utils.data import DataLoader, TensorDataset
    x = torch.arange(8.0)[:, None]
    pairs = [dict(x=a, y=b) for a, b in TensorDataset(x, 2 * x)]
    return DataLoader(pairs, batch_size=4, sampler=torch.utils.data.SequentialSampler(pairs))


def save_weights(path, runner, change):
    weights = {key: value.clone() for key, value in runner.model.state_dict().items()}
    torch.save(dict(state_dict=change(weights)), path)
    return str(path)


def without(weights, *keys):
    return {key: value for key, value in weights.items() if key not in keys}


def test_checkpoint_of_another_model_is_refused_in_testing(toy_runner, tmp_path):
    runner = toy_runner(custom_hooks=[dict(type='CheckpointMatchHook')])
    other = toy_runner(width=6)
    path = save_weights(tmp_path / 'other.pth', other, lambda weights: weights)
    runner._load_from = path
    with pytest.raises(CheckpointError) as refusal:
        runner.test()
    message = str(refusal.value)
    assert '2 of the model\'s 9 entries' in message  # the last bias and the batch count fit
    assert '7 of another shape' not in message or 'layers.0.weight' in message
    assert 'checkpoint of another model' in message


def test_missing_entry_is_refused_in_testing_and_warned_of_in_training(toy_runner, tmp_path,
                                                                       caplog):
    strict = toy_runner(custom_hooks=[dict(type='CheckpointMatchHook')])
    path = save_weights(tmp_path / 'part.pth', strict,
                        lambda weights: {**without(weights, 'layers.2.bias'),
                                         'extra': torch.ones(1)})
    with pytest.raises(CheckpointError, match=r'8 of the model\'s 9(.|\n)*layers\.2\.bias'):
        strict.load_checkpoint(path)
    lenient = toy_runner(custom_hooks=[dict(type='CheckpointMatchHook', strict=False)])
    messages = []
    lenient.logger.warning = messages.append
    lenient.load_checkpoint(path)
    assert len(messages) == 1
    assert '1 missing in the checkpoint: layers.2.bias' in messages[0]
    assert '1 unknown to the model: extra' in messages[0]


def test_nothing_in_common_is_refused_in_training_too(toy_runner, tmp_path):
    runner = toy_runner(custom_hooks=[dict(type='CheckpointMatchHook', strict=False)])
    path = save_weights(tmp_path / 'none.pth', runner,
                        lambda weights: {f'backbone.{key}': v for key, v in weights.items()})
    with pytest.raises(CheckpointError, match='9 unknown to the model'):
        runner.load_checkpoint(path)


def test_module_prefix_of_parallel_training_is_no_difference(toy_runner, tmp_path):
    runner = toy_runner(custom_hooks=[dict(type='CheckpointMatchHook')])
    path = save_weights(tmp_path / 'parallel.pth', runner,
                        lambda weights: {f'module.{key}': v for key, v in weights.items()})
    runner.load_checkpoint(path)
