"""Runs of the tools: two processes, resuming, export, decay over the epochs, memory of a step."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from projects.defeat.schedule import DistillationSchedule, decay_factor
from projects.runtime.checkpoint_files import read_checkpoint
from projects.runtime.data_options import replace_classes
from projects.runtime.errors import ConfigError

CLASSES = 'disc,square,triangle,star,ring'


@pytest.fixture(scope='module')
def tools(root, mini_root):
    """Function: a tool as a separate process on the CPU; returns its output, or fails with it."""
    environment = {**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable,
                   'PYTHONPATH': os.pathsep.join([str(root), str(root / 'tests/test_tools')])}

    def run(script, *arguments, cwd):
        start = [sys.executable] if script.endswith('.py') else ['bash']
        done = subprocess.run([*start, str(root / 'tools' / script), *map(str, arguments)], cwd=cwd, text=True,
                              capture_output=True, env=environment, timeout=240)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout
    return run


@pytest.fixture(scope='module')
def teacher(root, tmp_path_factory):
    """A checkpoint of the BCCD teacher for the mini set's classes, with random weights."""
    cfg = Config.fromfile(root / 'configs/retinanet_r34_bccd.py')
    replace_classes(cfg, CLASSES.split(','))
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    torch.save(dict(meta=dict(dataset_meta=dict(classes=tuple(CLASSES.split(',')))),
                    state_dict=MODELS.build(cfg.model).state_dict()), path)
    return path


@pytest.fixture(scope='module')
def run(tools, teacher, root, mini_root, tmp_path_factory):
    """Work dir and output of one epoch in two processes, with decay."""
    folder = tmp_path_factory.mktemp('distilled')
    config = folder / 'two_processes.py'
    config.write_text(
        f"_base_ = '{root}/configs/defeat_retinanet_r34_r18_bccd.py'\n"
        "custom_imports = dict(imports=['projects.runtime', 'projects.det_data', 'projects.defeat',\n"
        "                               'rank_digest'], allow_failed_imports=False)\n"
        "custom_hooks = [dict(type='DeFeatHook'), dict(type='RankDigestHook')]\n"
        f"model = dict(teacher=dict(checkpoint='{teacher}'), defeat=dict(decay='linear', warmup_iters=3))\n"
        "train_dataloader = dict(batch_size=2)\n"
        "train_cfg = dict(max_epochs=1, val_interval=5)\n"
        "param_scheduler = None\n"
        "default_hooks = dict(logger=dict(interval=1))\n")
    out = tools('dist_train.sh', config, 2, '--work-dir', 'run', '--cfg-options',
                f'data_root={mini_root}/mini/voc/VOC2007/', f'classes={CLASSES}', cwd=folder)
    return config, folder / 'run', out


def test_two_processes_arrive_at_the_same_weights(run):
    config, work_dir, out = run
    first, second = (json.loads((work_dir / f'rank{rank}.json').read_text()) for rank in (0, 1))
    # batch norm's running statistics are each process's own
    trained = [{name: value for name, value in rank['weights'].items() if 'running_' not in name}
               for rank in (first, second)]
    assert len(trained[0]) > 60 and trained[0] == trained[1] and len(first['images']) == 3
    found = [float(value) for value in re.findall(r'loss_defeat_bg: (\S+)', out)]
    assert len(found) == 3 and found[0] > 0


def test_checkpoint_resumes_and_exports(run, tools, load_tool, mini_root, root, tmp_path):
    """The student's weights under the plain names, the adaptation layers beside them, and nothing of the teacher."""
    config, work_dir, _ = run
    weights = read_checkpoint(work_dir / 'epoch_1.pth')['state_dict']
    plain = Config.fromfile(root / 'configs/retinanet_r18_bccd.py')
    replace_classes(plain, CLASSES.split(','))
    student = MODELS.build(plain.model)
    extra = {f'distiller.neck.adapt.{level}.{name}' for level in range(3) for name in ('weight', 'bias')}
    assert set(weights) == set(student.state_dict()) | extra

    out = tools('dist_train.sh', config, 2, '--work-dir', work_dir, '--resume', '--cfg-options',
                f'data_root={mini_root}/mini/voc/VOC2007/', f'classes={CLASSES}', 'train_cfg.max_epochs=2',
                cwd=tmp_path)
    assert 'resumed epoch: 1, iter: 3' in out and (work_dir / 'epoch_2.pth').is_file()

    export = load_tool('model_converters/export_student.py')
    exported = tmp_path / 'student.pth'
    options = ['--cfg-options', f'classes={CLASSES}']
    export.main([str(root / 'configs/retinanet_r18_bccd.py'), str(work_dir / 'epoch_2.pth'), str(exported), *options])
    content = read_checkpoint(exported)
    assert set(content) == {'meta', 'state_dict'} and content['meta']['epoch'] == 2
    student.load_state_dict(content['state_dict'], strict=True)
    with pytest.raises(ConfigError, match='Expected that of the plain student'):
        export.main([str(root / 'configs/defeat_retinanet_r34_r18_bccd.py'), str(work_dir / 'epoch_2.pth'),
                     str(exported), *options])


def test_schedules():
    """Closed forms at chosen epochs of twelve, and the warm-up's product with them."""
    assert [decay_factor('linear', e, 12) for e in (0, 3, 9)] == [1, 0.75, 0.25]
    assert decay_factor('cosine', 0, 12) == 1 and decay_factor('cosine', 6, 12) == pytest.approx(0.5)
    assert [decay_factor('updown', e, 12) for e in (0, 3, 12)] == [1, 2, 0]
    assert decay_factor('updown', 1, 12) == pytest.approx(4 / 3)
    schedule = DistillationSchedule('linear', warmup_iters=4)
    schedule.advance(step=3, total=12, iteration=1)
    assert schedule.factor == 0.75 * 0.5
    assert DistillationSchedule().factor == 1


def test_memory_of_a_step(load_tool, root, capsys):
    """At most the student's step and the teacher's inference, and a fifth."""
    tool = load_tool('analysis_tools/distillation_memory.py')
    tool.main([root / 'configs/defeat_retinanet_r34_r18_bccd.py', '--shape', 448, 448, '--batch-size', 4])
    out = capsys.readouterr().out
    peaks = {name: int(value) for name, value in re.findall(r'(\w+) +(\d+) MiB', out)}
    assert peaks['both'] <= 1.2 * (peaks['student'] + peaks['teacher'])
    assert peaks['teacher'] > 40 and peaks['student'] > 150  # large enough to be measured at all
