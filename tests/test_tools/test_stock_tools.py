"""Our configs run with mmdet's own train.py and test.py, from another folder, resume included."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / 'configs' / 'adder_fcos_r18_mini.py'
DRIVER = textwrap.dedent('''
    # Runs mmdet's scripts one after the other in this process, which imports everything once.
    import runpy, sys, mmdet
    config, tools = sys.argv[1], mmdet.__path__[0] + '/.mim/tools/'
    changes = ['--cfg-options', 'train_dataloader.batch_size=4', 'model.test_cfg.score_thr=0.0']
    for script, *arguments in (
            ['train.py', config, '--work-dir', 'run', *changes, 'train_cfg.max_epochs=1'],
            ['train.py', config, '--work-dir', 'run', '--resume', *changes,
             'train_cfg.max_epochs=2', 'visualizer.name=second'],
            ['test.py', config, 'run/epoch_2.pth', '--work-dir', 'test', *changes,
             'visualizer.name=third']):
        sys.argv = [tools + script, *arguments]
        print('START', script, flush=True)
        runpy.run_path(sys.argv[0], run_name='__main__')
''')


@pytest.fixture(scope='module')
def folder(mini_root, tmp_path_factory):
    """The folder in which mmdet's scripts trained one epoch, resumed for another, and tested."""
    folder = tmp_path_factory.mktemp('elsewhere')
    environment = {**os.environ, 'MMDOWNSTREAM_DATA': str(mini_root), 'OMP_NUM_THREADS': '2',
                   'PYTHONPATH': str(REPOSITORY), 'CUDA_VISIBLE_DEVICES': ''}
    done = subprocess.run([sys.executable, '-c', DRIVER, str(CONFIG)], cwd=folder, text=True,
                          env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (folder / 'log').write_text(done.stdout)
    return folder


def test_training_is_resumed(folder):
    log = (folder / 'log').read_text()
    assert 'resumed epoch: 1, iter: 3' in log  # 12 images in batches of 4
    assert (folder / 'run/last_checkpoint').read_text() == str(folder / 'run/epoch_2.pth')
    assert not (folder / 'run/epoch_1.pth').exists()  # max_keep_ckpts=1, by the atomic hook


def test_testing_gives_the_metrics_of_the_last_validation(folder):
    [metrics] = (folder / 'test').glob('*/*.json')
    tested = json.loads(metrics.read_text())
    scalars = max((folder / 'run').glob('*/vis_data/scalars.json')).read_text().splitlines()
    validated = json.loads(scalars[-1])
    for name in ('coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/bbox_mAP_75'):
        assert tested[name] == validated[name]
