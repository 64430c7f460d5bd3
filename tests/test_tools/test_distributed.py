"""Two gloo processes: gradients are exchanged, and the metrics are those of one process."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
CONFIG = HERE / 'tiny_fcos.py'


@pytest.fixture(scope='module')
def environment(tool_environment):
    path = os.pathsep.join([tool_environment['PYTHONPATH'], str(HERE)])
    return dict(PYTHONPATH=path, OMP_NUM_THREADS='1')


@pytest.fixture(scope='module')
def run(tool, environment, tmp_path_factory):
    """The work dir of two training steps in two processes, started in another folder."""
    folder = tmp_path_factory.mktemp('distributed')
    config = folder / 'two_processes.py'
    config.write_text(
        f"_base_ = '{CONFIG}'\n"
        "custom_imports = dict(imports=['projects.runtime', 'projects.det_data', 'rank_digest'],\n"
        "                      allow_failed_imports=False)\n"
        "custom_hooks = [dict(type='RankDigestHook')]\n")
    done = tool('dist_train.sh', config, 2, '--work-dir', 'run', cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / 'run'


def last_metrics(folder):
    """The metrics that a test run wrote."""
    [path] = folder.glob('*/*.json')
    return {key: value for key, value in json.loads(path.read_text()).items() if 'bbox' in key}


def test_each_process_sees_its_own_images_and_both_arrive_at_the_same_weights(run):
    first, second = (json.loads((run / f'rank{rank}.json').read_text()) for rank in (0, 1))
    assert [len(step) for step in first['images']] == [2, 2]
    seen = [{name for step in part['images'] for name in step} for part in (first, second)]
    assert not seen[0] & seen[1] and len(seen[0] | seen[1]) == 8
    assert first['weights'] == second['weights']


def test_checkpoint_has_plain_keys(run):
    weights = torch.load(run / 'epoch_1.pth', weights_only=True)['state_dict']
    assert 'backbone.conv1.weight' in weights


@pytest.fixture
def one_thread():
    """As in the processes of a distributed run, so that sums are added in the same order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_metrics_of_two_processes_equal_those_of_one(run, tool, tool_here, environment, one_thread,
                                                     tmp_path):
    """Five images on two processes: the padded sixth is dropped, the order is kept."""
    checkpoint = run / 'epoch_1.pth'
    both = tool('dist_test.sh', CONFIG, checkpoint, 2, '--work-dir', tmp_path / 'dist_test.sh',
                '--out', tmp_path / 'dist_test.sh.pkl', cwd=tmp_path, env=environment)
    alone = tool_here('test.py', CONFIG, checkpoint, '--work-dir', tmp_path / 'test.py',
                      '--out', tmp_path / 'test.py.pkl')
    for done in (both, alone):
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    two, one = (pickle.loads((tmp_path / f'{script}.pkl').read_bytes())
                for script in ('dist_test.sh', 'test.py'))
    assert [item['img_id'] for item in two] == [item['img_id'] for item in one] == list(range(5))
    for a, b in zip(two, one, strict=True):
        for key in ('bboxes', 'scores', 'labels'):
            assert torch.equal(a['pred_instances'][key], b['pred_instances'][key])
    metrics = last_metrics(tmp_path / 'dist_test.sh')
    assert metrics == last_metrics(tmp_path / 'test.py') and len(metrics) >= 6


@pytest.mark.parametrize('script, arguments', [
    ('dist_train.sh', ['config.py']), ('dist_train.sh', ['config.py', 'two']),
    ('dist_test.sh', ['config.py', 'model.pth']), ('slurm_train.sh', ['partition', 'job', 'c.py']),
    ('slurm_test.sh', [])])
def test_wrong_calls_get_the_usage(tool, script, arguments):
    done = tool(script, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f'usage: {script} ')


def test_slurm_arguments(tool, tmp_path):
    """The conventional call and variables reach srun and the script, words with spaces whole."""
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    srun.chmod(0o755)
    done = tool('slurm_train.sh', 'gpu', 'my job', 'c.py', 'work dir', '--amp', cwd=tmp_path,
                env=dict(PATH=f'{tmp_path}:{os.environ["PATH"]}', GPUS='4', GPUS_PER_NODE='2',
                         SRUN_ARGS='--time 1 --qos low'))
    words = done.stdout.splitlines()
    assert words[:3] == ['-p', 'gpu', '--job-name=my job']
    assert {'--ntasks=4', '--ntasks-per-node=2', '--gres=gpu:2', '--cpus-per-task=5'} <= set(words)
    assert words[-6:] == ['c.py', '--work-dir', 'work dir', '--amp', '--launcher', 'slurm']
    assert words[words.index('--kill-on-bad-exit=1') + 1:][:4] == ['--time', '1', '--qos', 'low']
