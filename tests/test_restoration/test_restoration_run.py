"""Train, resume and test with the suite's tools: several test sets, predictions, pictures, two processes."""

import io
import itertools
import json
import os
import pickle
import runpy
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from projects.restoration import RestorationVisualizer, imresize, psnr
from projects.restoration.image_files import read_image
from projects.runtime.image_bytes import encode_png

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/edsr_mini.py'
SHORT = ['model.generator.mid_channels=8', 'model.generator.num_blocks=1', 'train_cfg.val_interval=20',
         'default_hooks.checkpoint.interval=20', 'default_hooks.logger.interval=10']


@pytest.fixture(scope='module')
def environment(sr_root):
    return {'MMDOWNSTREAM_DATA': str(sr_root), 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1',
            'PYTHONPATH': str(ROOT), 'PYTHON': sys.executable}


@pytest.fixture(scope='module')
def tool(environment):
    """Function: run a Python tool of the suite in this process, which saves the seconds of importing; its output."""
    runs = itertools.count()

    def run(name, *arguments):
        # a name of its own for each run, because mmengine keeps loggers and visualisers by name in a process
        words = [name, *map(str, arguments), f'experiment_name=run{next(runs)}']
        RestorationVisualizer._instance_dict.clear()
        printed = io.StringIO()
        with mock.patch.dict(os.environ, environment), mock.patch.object(sys, 'argv', words), \
                redirect_stdout(printed), redirect_stderr(printed):
            runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')
        return printed.getvalue()
    return run


@pytest.fixture(scope='module')
def trained(tool, tmp_path_factory):
    """Work dir of 20 steps, then resumed for 20 more."""
    folder = tmp_path_factory.mktemp('restoration') / 'run'
    tool('train.py', CONFIG, '--work-dir', folder, '--cfg-options', *SHORT, 'train_cfg.max_iters=20')
    assert (folder / 'iter_20.pth').exists()
    log = tool('train.py', CONFIG, '--work-dir', folder, '--resume', '--cfg-options', *SHORT, 'train_cfg.max_iters=40')
    assert 'resumed epoch: 0, iter: 20' in log
    return folder


@pytest.fixture(scope='module')
def tested(trained, tool, tmp_path_factory):
    """Work dir of a test run with pictures and predictions, and what it printed."""
    folder = tmp_path_factory.mktemp('tested')
    log = tool('test.py', CONFIG, trained / 'iter_40.pth', '--work-dir', folder, '--out', folder / 'p.pkl',
               '--show-dir', 'painted', '--cfg-options', *SHORT[:2], 'model.test_cfg.tile=20',
               'default_hooks.visualization.pred_out_dir=restored')
    return folder, log


def metrics_of(folder):
    [path] = folder.glob('*/*.json')
    # every process of a distributed test writes this file; a longer text may leave its tail behind a shorter one
    metrics, _ = json.JSONDecoder().raw_decode(path.read_text())
    return {key: value for key, value in metrics.items() if '/' in key}


def test_training_leaves_checkpoints_and_the_best_one(trained):
    assert (trained / 'last_checkpoint').read_text() == str(trained / 'iter_40.pth')
    [best] = trained.glob('best_*.pth')
    assert best.name.startswith('best_Stripes_PSNR_iter_')
    losses = [json.loads(line)['loss'] for path in sorted(trained.glob('*/vis_data/scalars.json'))
              for line in path.read_text().splitlines() if '"loss"' in line]
    assert len(losses) >= 4 and losses[-1] < 0.8 * losses[0]


def test_both_sets_are_in_one_table(tested):
    folder, log = tested
    metrics = metrics_of(folder)
    assert set(metrics) == {f'{name}/{metric}' for name in ('Stripes', 'Shapes') for metric in ('PSNR', 'SSIM')}
    table = [line.split() for line in log.splitlines()]
    assert ['set', 'PSNR', 'SSIM'] in table
    for name in ('Stripes', 'Shapes'):
        assert [name, *(f'{metrics[f"{name}/{metric}"]:.4f}' for metric in ('PSNR', 'SSIM'))] in table


def test_metrics_are_those_of_the_files_written(tested, sr_root):
    """PSNR over the written images, from files, by the function: clamped, rounded, border 2, luma, mean of images."""
    folder, _ = tested
    for name in ('Stripes', 'Shapes'):
        values = []
        for path in sorted((sr_root / 'mini_sr/benchmark' / name / 'HR').iterdir()):
            [restored] = folder.glob(f'*/restored/{name}/{path.name}')
            values.append(psnr(read_image(str(restored)), read_image(str(path)), crop_border=2, convert_to='Y'))
        assert np.mean(values) == pytest.approx(metrics_of(folder)[f'{name}/PSNR'], abs=1e-6)


def test_predictions_come_in_the_order_of_the_sets(tested, sr_root):
    folder, log = tested
    predictions = pickle.loads((folder / 'p.pkl').read_bytes())
    assert f'6 predictions are in {folder}/p.pkl' in log
    assert [item['key'] for item in predictions] == [f'{name}_{i:02d}' for name in ('stripes', 'shapes')
                                                     for i in (1, 2, 3)]
    first = predictions[0]
    truth = read_image(str(sr_root / 'mini_sr/benchmark/Stripes/HR/stripes_01.png'))
    assert torch.equal(first['gt_img'], torch.from_numpy(truth).permute(2, 0, 1))
    assert np.array_equal(first['input'].permute(1, 2, 0).numpy(), imresize(truth, 1 / 2))
    assert first['pred_img'].shape == (3, 72, 72) and first['pred_img'].dtype == torch.float32


def test_pictures(tested):
    folder, _ = tested
    assert sorted(path.name for path in folder.glob('*/painted/Shapes/*')) == [
        f'shapes_{i:02d}.png' for i in (1, 2, 3)]


def test_two_processes_give_the_metrics_and_predictions_of_one(trained, tested, environment, tmp_path):
    """Three images a set on two processes: the padded fourth of each set is dropped."""
    done = subprocess.run(
        ['bash', str(ROOT / 'tools/dist_test.sh'), str(CONFIG), str(trained / 'iter_40.pth'), '2', '--work-dir',
         str(tmp_path / 'w'), '--out', str(tmp_path / 'p.pkl'), '--cfg-options', *SHORT[:2], 'model.test_cfg.tile=20'],
        text=True, capture_output=True, timeout=240, env={**os.environ, **environment})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    one, two = (pickle.loads((folder / 'p.pkl').read_bytes()) for folder in (tested[0], tmp_path))
    assert [item['key'] for item in one] == [item['key'] for item in two]
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a['pred_img'], b['pred_img'], atol=1e-3, rtol=0)
    assert metrics_of(tested[0]) == pytest.approx(metrics_of(tmp_path / 'w'), abs=1e-4)


def test_demo_restores_what_testing_does(trained, tested, tool, sr_root, tmp_path):
    """A folder of inputs, one of them broken, without any truth."""
    for name in ('stripes_01', 'stripes_02'):
        truth = read_image(str(sr_root / f'mini_sr/benchmark/Stripes/HR/{name}.png'))
        (tmp_path / f'{name}.png').write_bytes(encode_png(imresize(truth, 1 / 2)))
    (tmp_path / 'broken.png').write_bytes(b'')
    log = tool('demo.py', tmp_path, CONFIG, trained / 'iter_40.pth', '--out-dir', tmp_path / 'out', '--device', 'cpu',
               '--batch-size', 3, '--cfg-options', *SHORT[:2], 'model.test_cfg.tile=20')
    assert 'broken.png: the image file is empty' in log and '2 images, 1 could not be read.' in log
    for name in ('stripes_01', 'stripes_02'):
        [expected] = tested[0].glob(f'*/restored/Stripes/{name}.png')
        assert np.array_equal(read_image(str(tmp_path / f'out/preds/{name}.png')), read_image(str(expected)))
        assert read_image(str(tmp_path / f'out/vis/{name}.png')).shape[1] > 3 * 72  # input, bicubic, ours


def test_a_model_without_weights_needs_no_checkpoint(tool, sr_root, tmp_path):
    """Bicubic interpolation scores what the functions say; a network with weights is refused."""
    tool('test.py', CONFIG, 'none', '--work-dir', tmp_path, '--cfg-options', 'model.generator._delete_=True',
         'model.generator.type=Bicubic', 'model.generator.upscale_factor=2')
    values = []
    for path in sorted((sr_root / 'mini_sr/benchmark/Stripes/HR').iterdir()):
        truth = read_image(str(path))
        values.append(psnr(imresize(imresize(truth, 1 / 2), 2), truth, crop_border=2, convert_to='Y'))
    assert np.mean(values) == pytest.approx(metrics_of(tmp_path)['Stripes/PSNR'], abs=1e-6)
    with pytest.raises(SystemExit):
        tool('test.py', CONFIG, 'none', '--work-dir', tmp_path, '--cfg-options', *SHORT[:2])
