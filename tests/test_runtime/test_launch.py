"""Launchers that do not fit the machine, version notes, and messages to the user."""

import argparse

import pytest
from mmengine.config import Config

from projects.runtime import launch
from projects.runtime.command_line import add_common_arguments, parse, run_tool, user_message
from projects.runtime.environment import TESTED, version_report
from projects.runtime.errors import ConfigError, UserError


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')


def test_single_process_changes_nothing():
    cfg = Config(dict())
    launch.start_distributed(cfg, 'none')
    assert dict(cfg) == dict(launcher='none')


def test_torchrun_variables_are_asked_for(monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    with pytest.raises(ConfigError, match='lacks RANK.*dist_train.sh'):
        launch.start_distributed(Config(dict()), 'pytorch')


def test_slurm_without_gpu_points_to_the_way_that_works(no_gpu):
    with pytest.raises(ConfigError, match='slurm needs GPUs.*dist_train.sh'):
        launch.start_distributed(Config(dict()), 'slurm')


def test_synchronised_norms_become_plain_ones_without_gpus(no_gpu, monkeypatch, capsys):
    """torch refuses them on CPUs as soon as there is a process group."""
    for name, value in dict(RANK=0, WORLD_SIZE=2, MASTER_ADDR='x', MASTER_PORT=1).items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(launch.distributed, 'init_process_group', lambda *args, **kwargs: None)
    norm = dict(type='SyncBN', requires_grad=True)
    cfg = Config(dict(model=dict(backbone=dict(norm_cfg=norm), heads=[dict(norm_cfg=norm)])))
    launch.start_distributed(cfg, 'pytorch')
    assert cfg.model.backbone.norm_cfg == cfg.model.heads[0].norm_cfg == dict(type='BN', requires_grad=True)
    assert 'SyncBN' in capsys.readouterr().out
    monkeypatch.setattr(launch, 'get_device', lambda: 'cuda')
    monkeypatch.setattr(launch.torch.cuda, 'is_available', lambda: False)
    gpus = Config(dict(model=dict(norm_cfg=norm)))
    launch.start_distributed(gpus, 'pytorch')
    assert gpus.model.norm_cfg.type == 'SyncBN'


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr(launch, 'get_device', lambda: 'cuda')
    monkeypatch.setattr(launch.torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(launch.torch.cuda, 'device_count', lambda: 1)
    for name, value in dict(RANK=1, LOCAL_RANK=1, WORLD_SIZE=2, MASTER_ADDR='x',
                            MASTER_PORT=1).items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(ConfigError, match='process 1 of this machine has no GPU, only 1'):
        launch.start_distributed(Config(dict()), 'pytorch')


def test_version_report_names_what_differs_and_only_that():
    assert version_report(dict(TESTED)) is None
    report = version_report({**TESTED, 'mmcv': '2.2.0'})
    assert 'mmcv 2.2.0 (tested: 2.1.0)' in report and 'torch' not in report


def test_worker_tracebacks_are_cut_from_messages():
    wrapped = UserError('Caught UserError in DataLoader worker process 0.\n'
                        'Original Traceback (most recent call last):\n  File "x", line 1\n'
                        'projects.runtime.errors.UserError: x.jpg: empty\n')
    assert user_message(wrapped) == 'x.jpg: empty'


def test_user_errors_end_a_tool_with_one_message(capsys, monkeypatch):
    def main():
        raise UserError('x.json: no such file')

    with pytest.raises(SystemExit) as stop:
        run_tool(main)
    assert stop.value.code == 1
    assert capsys.readouterr().err == '\nerror: x.json: no such file\n'
    monkeypatch.setenv('MMDOWNSTREAM_TRACEBACK', '1')
    with pytest.raises(SystemExit):
        run_tool(main)
    assert 'Traceback' in capsys.readouterr().err


def test_defects_keep_their_traceback():
    def main():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_tool(main)


def test_option_without_a_value_gets_the_usage(capsys):
    parser = argparse.ArgumentParser()
    add_common_arguments(parser)
    with pytest.raises(SystemExit) as stop:
        parse(parser, ['--cfg-options', 'a=1', 'b'])
    assert stop.value.code == 2
    assert 'expected KEY=VALUE pairs' in capsys.readouterr().err
