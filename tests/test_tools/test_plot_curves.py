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


def test_a_resumed_session_with_one_record_keeps_what_was_before(plot, tmp_path):
    """One record an epoch, killed in the evaluation of the sixth, which is trained again."""
    write_run(tmp_path, '20260101_000000', [
        item for epoch in range(1, 7) for item in (record(37 * epoch), validation(epoch, epoch / 10))][:-1])
    write_run(tmp_path, '20260101_010000', [record(37 * 6), validation(6, 0.6)])
    training, validated = plot['read_runs'](tmp_path)
    assert [item['iter'] for item in training] == [37 * epoch for epoch in range(1, 7)]
    assert [item['step'] for item in validated] == [1, 2, 3, 4, 5, 6]


def test_evaluations_without_a_count_are_all_kept(plot, tmp_path):
    """Iteration-based runs whose logger counts epochs: every evaluation is of step 0."""
    write_run(tmp_path, '20260101_000000', [*map(record, (10, 20)), validation(0, 0.1)])
    write_run(tmp_path, '20260101_010000', [*map(record, (30, 40)), validation(0, 0.2)])
    assert [item['coco/bbox_mAP'] for item in plot['read_runs'](tmp_path)[1]] == [0.1, 0.2]


def test_runs_without_a_sum_of_losses_are_drawn(plot, tmp_path):
    """Several optimisers have a loss each, and no `loss`."""
    for name in 'ab':
        write_run(tmp_path / name, '20260101_000000', [
            dict(iter=step, step=step, loss_generator=1., loss_discriminator=2.) for step in (10, 20)])
    plot['draw'](plot['read_named']([str(tmp_path / name) for name in 'ab']), [], tmp_path / 'curves.png')
    assert cv2.imread(str(tmp_path / 'curves.png')) is not None


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
