"""tools/analysis_tools/plot_curves.py: which records are drawn, and that a picture comes out."""

import json
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / 'tools' / 'analysis_tools' / 'plot_curves.py'


@pytest.fixture(scope='module')
def plot():
    return runpy.run_path(str(SCRIPT))


def record(iteration):
    return dict(iter=iteration, step=iteration, loss=1.0 / iteration, loss_cls=0.5, lr=0.1)


def validation(epoch, ap=0.5):
    return {'coco/bbox_mAP': ap, 'coco/bbox_mAP_l': -1.0, 'time': 0.1, 'step': epoch}


def write_run(work_dir, time, records, tail=''):
    folder = work_dir / time / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, records)) + tail)


def test_resumed_runs_are_joined_where_they_overlap(plot, tmp_path):
    """Run 1 reaches iteration 50, run 2 goes on from 30: drawn are 10 to 30, then 40 to 60."""
    write_run(tmp_path, '20260101_000000', [
        *map(record, (10, 20, 30)), validation(1, 0.1), *map(record, (40, 50)), validation(2, 0.2)],
        tail='\n{"iter": 60, "lo')  # cut off by the kill
    write_run(tmp_path, '20260101_010000', [*map(record, (40, 50, 60)), validation(2, 0.3)])
    training, validated = plot['read_runs'](tmp_path)
    assert [item['iter'] for item in training] == [10, 20, 30, 40, 50, 60]
    assert [(item['step'], item['coco/bbox_mAP']) for item in validated] == [(1, 0.1), (2, 0.3)]


def test_a_new_run_in_the_same_folder_replaces_the_former(plot, tmp_path):
    write_run(tmp_path, '20260101_000000', [*map(record, (10, 20, 30)), validation(1)])
    write_run(tmp_path, '20260101_010000', [*map(record, (10, 20))])
    training, validated = plot['read_runs'](tmp_path)
    assert [item['iter'] for item in training] == [10, 20] and validated == []


def test_test_runs_in_the_folder_do_not_disturb(plot, tmp_path):
    write_run(tmp_path, '20260101_000000', [*map(record, (10, 20))])
    write_run(tmp_path, '20260101_010000', [])
    assert len(plot['read_runs'](tmp_path)[0]) == 2


def test_running_mean(plot):
    values = np.array([4.0, 2.0, 6.0, 0.0])
    assert plot['smoothed'](values, 1).tolist() == values.tolist()
    assert plot['smoothed'](values, 3).tolist() == [4.0, 3.0, 4.0, pytest.approx(8 / 3)]


def test_picture_of_a_real_run(trained, tool_here, tmp_path):
    done = tool_here('analysis_tools/plot_curves.py', trained, '--out', tmp_path / 'new/curves.png')
    assert done.returncode == 0, done.stderr
    assert '4 training and 1 validation records' in done.stdout
    picture = cv2.imread(str(tmp_path / 'new/curves.png'))
    assert picture.shape[1] > picture.shape[0] > 300
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10  # several coloured lines


def test_folder_without_a_log(tool_here, tmp_path):
    done = tool_here('analysis_tools/plot_curves.py', tmp_path)
    assert done.returncode == 1
    assert f'error: {tmp_path}: no training log: no TIME/vis_data/scalars.json' in done.stderr
