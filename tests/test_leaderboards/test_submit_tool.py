"""tools/submit.py: from predictions, from a model in one and two processes, and what it says of wrong calls."""
import json
import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

from projects.leaderboards import model_run
from projects.leaderboards.config_options import config_options
from projects.leaderboards.tracks import TRACKS, option_names

CONFIG = """
_base_ = ['{root}/configs/_base_/models/edsr_baseline.py', '{root}/configs/_base_/restoration_runtime.py']
custom_imports = dict(imports=['projects.runtime', 'projects.restoration'], allow_failed_imports=False)
model = dict(generator=dict(mid_channels=4, num_blocks=1, upscale_factor=2))
test_cfg = dict(type='MultiTestLoop')
test_dataloader = [dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RestorationDataset', data_root='data', data_prefix=dict(img='X2'), scale=2, test_mode=True,
                 pipeline=[dict(type='LoadRestorationImage', key='img'), dict(type='PackInputs')]))]
test_evaluator = [[dict(type='PSNR', prefix='test')]]  # without truth, which --without-metrics is for
"""
README = ['--name', 'a', '--runtime', '0.5', '--device', 'cpu', '--extra-data', '0', '--description', 'EDSR']


@pytest.fixture
def submit(load_tool, tmp_path, monkeypatch, capsys):
    """Function: arguments -> status, and what was written to both streams; in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    tool = load_tool('submit.py')

    def run(*arguments):
        try:
            status = tool.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()
    return run


@pytest.fixture
def folder(tmp_path, prediction, dump):
    images = [dict(id=7, width=200, height=100)]
    (tmp_path / 'instances_val2017.json').write_text(json.dumps(dict(
        images=images, categories=[dict(id=18, name='dog')])))
    boxes = [[10, 20, 40, 60], [5, 5, 5, 9]]
    dump([prediction(7, boxes, [.9, .8], [0, 0])], tmp_path / 'preds.pkl')
    return tmp_path


def test_write_check_and_refuse(folder, submit):
    status, out, err = submit('coco-det', 'preds.pkl', '--out', 'subs', '--name', 'alg', '--ann-file',
                              'instances_val2017.json')
    assert (status, err) == (0, '')
    archive = folder / 'subs' / 'detections_val2017_alg_results.zip'
    shown = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert archive.is_file() and (shown['entries'], shown['images'], len(shown['sha256'])) == ('1', '1', 64)
    assert '1 boxes without width or height' in shown['warning'] and 'instances_val2017.json' in shown['checked']
    assert 'CodaLab, which closed' in shown['next']
    status, out, _ = submit('coco-det', '--check', archive, '--ann-file', 'instances_val2017.json')
    assert status == 0 and shown['sha256'] in out
    status, out, err = submit('coco-det', '--check', 'preds.pkl')
    assert (status, out) == (1, '') and err.startswith('preds.pkl: not a zip file')


def test_options_reach_their_track(folder, submit):
    shown = submit('--help')[1]
    for track in TRACKS.values():
        for name in {*option_names(track.write), *option_names(track.validate)}:
            assert f'--{name.replace("_", "-")} ' in shown
    status, _, err = submit('voc-det', 'preds.pkl', '--out', 'subs', '--name', 'alg', '--image-dir', '.', '--ann-file',
                            'instances_val2017.json')
    assert status == 1 and 'write has no option ann_file' in err and 'image_dir' not in err


@pytest.mark.parametrize('arguments, message', [
    ([], 'give one of: PREDICTIONS'), (['p', '--check', 'a.zip'], 'give one of: PREDICTIONS'), (['p'], '--out DIR'),
    (['--checkpoint', 'c', '--out', 'o'], '--checkpoint needs the --config'),
    (['p', '--out', 'o', '--nproc', '2'], 'are for running a model'),
    (['--checkpoint', 'c', '--config', 'c', '--out', 'o', '--nproc', '2', '--launcher', 'slurm'], 'give one of them'),
])
def test_wrong_calls_get_the_usage(submit, arguments, message):
    status, _, err = submit('coco-det', *arguments)
    assert status == 2 and message in err


# ---- from a config

ROOT = dict(data_root='d/')
VOC = dict(type='VOCDataset', ann_file='VOC2007/ImageSets/Main/test.txt', data_prefix=dict(sub_data_root='VOC2007/'),
           metainfo=dict(classes=('cat', 'dog')))


@pytest.mark.parametrize('track, dataset, options', [
    ('coco-det', dict(ann_file='a/v.json', data_prefix=dict(img='val/')), dict(ann_file='d/a/v.json')),
    ('coco-det', dict(ann_file='v.json', metainfo=dict(classes=('cat',))), dict(ann_file='d/v.json', classes=['cat'])),
    ('voc-det', VOC, dict(image_set='d/VOC2007/ImageSets/Main/test.txt', image_dir='d/VOC2007/JPEGImages', year='2007',
                          classes=['cat', 'dog'])),
    ('voc-seg', dict(data_root='d/VOC2012/', ann_file='test.txt', data_prefix=dict(img_path='JPEGImages')),
     dict(image_set='d/VOC2012/test.txt', image_dir='d/VOC2012/JPEGImages', year='2012')),
    ('cityscapes-seg', dict(data_prefix=dict(img_path='leftImg8bit/test')), dict(image_dir='d/leftImg8bit/test')),
    ('scannet-instance', dict(ann_file='scannet_infos_val.pkl'), {}),  # there is no list of scenes
    ('ntire-sr', dict(data_prefix=dict(img='X4', gt='HR'), scale=4), dict(image_dir='d/X4', scale=4)),
    ('ntire-sr', dict(data_prefix=dict(gt='HR'), scale=4), dict(image_dir='d/HR')),
])
def test_options_of_a_config(track, dataset, options):
    assert config_options(track, {**ROOT, **dataset}) == options


def test_scannet_files_are_found_in_the_layout(tmp_path):
    (tmp_path / 'meta_data').mkdir()
    (tmp_path / 'meta_data' / 'scannetv2_val.txt').write_text('scene0011_00\n')
    (tmp_path / 'scans').mkdir()
    found = config_options('scannet-semantic', dict(data_root=str(tmp_path), ann_file='scannet_infos_val.pkl'))
    assert found == dict(scenes=f'{tmp_path}/meta_data/scannetv2_val.txt', mesh_dir=f'{tmp_path}/scans')


def run_here(command, **options):
    """Runs a command of tools/test.py in this process, which has imported everything, instead of another one."""
    with mock.patch.object(sys, 'argv', command[1:]):
        try:
            runpy.run_path(command[1], run_name='__main__')
        except SystemExit as stop:
            return subprocess.CompletedProcess(command, stop.code)
    return subprocess.CompletedProcess(command, 0)


@pytest.fixture
def model(tmp_path, root, monkeypatch):
    """A tiny model's config and checkpoint, and three inputs; runs need no further imports, and one thread."""
    from mmengine.registry import MODELS

    import projects.restoration  # noqa: F401
    (tmp_path / 'data' / 'X2').mkdir(parents=True)
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (6 + number, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / 'data' / 'X2' / f'090{number}x2.png')
    (tmp_path / 'tiny_edsr.py').write_text(CONFIG.format(root=root))
    torch.manual_seed(0)
    network = MODELS.build(dict(type='EDSR', in_channels=3, out_channels=3, mid_channels=4, num_blocks=1,
                                upscale_factor=2))
    weights = {f'generator.{name}': value for name, value in network.state_dict().items()}
    torch.save(dict(state_dict=weights), tmp_path / 'tiny.pth')
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    monkeypatch.setattr(model_run, 'subprocess', SimpleNamespace(run=run_here))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield ['ntire-sr', '--config', 'tiny_edsr.py', '--checkpoint', 'tiny.pth', '--work-dir', 'work', *README]
    torch.set_num_threads(threads)


def launched(rank, port, main, arguments):
    """One of two processes, as torchrun would start it."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', MASTER_ADDR='127.0.0.1',
                      MASTER_PORT=str(port))
    with open(f'rank{rank}.log', 'w') as log, redirect_stdout(log), redirect_stderr(log):
        status = main(arguments)
    sys.exit(status)


def test_a_model_in_two_processes_gives_the_archive_of_one(tmp_path, submit, model, load_tool):
    status, shown, err = submit(*model, '--without-metrics', '--out', 'one')
    assert status == 0, shown[-2000:] + err[-2000:]
    assert 'config   image_dir = data/X2' in shown and 'config   scale = 2' in shown
    assert 'one result for each of the 3 images in data/X2, of 2 times its size' in shown
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    arguments = [*model, '--without-metrics', '--launcher', 'pytorch', '--out', 'two']
    fork = multiprocessing.get_context('fork')
    jobs = [fork.Process(target=launched, args=(rank, port, load_tool('submit.py').main, arguments)) for rank in (0, 1)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(300)
        job.kill()
    logs = [(tmp_path / f'rank{rank}.log').read_text() for rank in (0, 1)]
    assert [job.exitcode for job in jobs] == [0, 0], logs
    assert 'sha256' in logs[0] and 'sha256' not in logs[1]  # the first process alone writes and reports
    assert (tmp_path / 'one' / 'a.zip').read_bytes() == (tmp_path / 'two' / 'a.zip').read_bytes()
    # from what was kept, without a second run
    status, shown, err = submit('ntire-sr', 'two/a_predictions.pkl', '--config', 'tiny_edsr.py', '--naming', 'id',
                                '--out', 'two', *README, '--name', 'b')
    assert (status, err) == (0, '') and (tmp_path / 'two' / 'b.zip').is_file()


def test_a_metric_without_truth_ends_the_run_with_a_hint(submit, model):
    status, _, err = submit(*model, '--out', 'three')
    assert status == 1 and 'the test run ended with status 1' in err and 'need --without-metrics' in err


def test_processes_are_started_by_the_suites_own_script(root):
    job = model_run.ModelRun('c.py', 'c.pth', root / 'tools', processes=2, arguments=['--work-dir', 'w'])
    assert job.command(Path('p.pkl')) == ['bash', f'{root}/tools/dist_test.sh', 'c.py', 'c.pth', '2', '--out', 'p.pkl',
                                          '--work-dir', 'w']


def test_label_images_replace_former_ones_when_the_run_is_complete(tmp_path, monkeypatch):
    (tmp_path / 'a.v2_labels').mkdir()
    (tmp_path / 'a.v2_labels' / 'old.png').write_bytes(b'')
    calls = []

    def run(command, **options):
        calls.append(command)
        place = tmp_path / '.a_v2_labels_partial'
        place.mkdir(exist_ok=True)
        (place / 'new.png').write_bytes(b'')
        return subprocess.CompletedProcess(command, int(len(calls) == 1))
    monkeypatch.setattr(model_run, 'subprocess', SimpleNamespace(run=run))
    job = model_run.ModelRun('c.py', 'c.pth', tmp_path, launcher='slurm')
    with pytest.raises(model_run.SubmissionError, match='status 1.*so far are in .*partial'):
        job.predict(tmp_path / 'a.v2_labels')
    assert (tmp_path / 'a.v2_labels' / 'old.png').exists()
    monkeypatch.setenv('SLURM_PROCID', '1')  # not the first process of the job
    job.predict(tmp_path / 'a.v2_labels')
    assert (tmp_path / 'a.v2_labels' / 'old.png').exists() and not job.is_first
    monkeypatch.setenv('SLURM_PROCID', '0')
    job.predict(tmp_path / 'a.v2_labels')
    assert [file.name for file in (tmp_path / 'a.v2_labels').iterdir()] == ['new.png']
    assert calls[0][-4:] == ['--launcher', 'slurm', '--out', str(tmp_path / '.a_v2_labels_partial')]


def test_a_config_with_several_test_sets_is_refused(tmp_path, submit):
    (tmp_path / 'c.py').write_text('test_dataloader = [dict(dataset=dict(type="A")), dict(dataset=dict(type="B"))]\n')
    status, _, err = submit('ntire-sr', 'p', '--config', 'c.py', '--out', 'o', '--name', 'a')
    assert status == 1 and 'made of one test set, found 2 (test_dataloader.0.dataset, test_dataloader.1.dataset)' in err
