"""From training to a fine-tuned, tested network through the tools, on a drawn CamVid."""

import io
import json
import os
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.visualization import Visualizer
from mmseg.visualization import SegLocalVisualizer

CONFIG = """
_base_ = '{root}/configs/{name}.py'
{model}
train_dataloader = dict(batch_size=2)
train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))
"""
SMALL = dict(backbone=dict(base_channels=8, stem_channels=8), decode_head=dict(in_channels=64, channels=16))
FLOORS = ['--min-channels', '2', '--round-to', '2']


@pytest.fixture(scope='module')
def place(drawn, tmp_path_factory, root):
    """A working folder with data and the three configs of the suite, narrow and of two iterations."""
    folder = tmp_path_factory.mktemp('place')
    for split in ('train', 'val', 'test'):
        drawn.fill(dict(type='CamVidDataset', data_root=str(folder / 'data/camvid'),
                  data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'labels/{split}')), count=4)
    pruning = "custom_hooks = [dict(type='PruneHook', target=0.6, floors=dict(min_channels=2, round_to=2))]"
    cls = ("train_cfg = dict(max_iters=2, val_interval=2, cls_dataloader=dict(batch_size=4))")
    for stem, name, model in (
            ('dense', 'deeplabv3_r18_camvid', f'model = {SMALL}'),
            ('search', 'mtp_deeplabv3_r18_camvid', f'model = dict(architecture={SMALL})\n{pruning}'),
            ('finetune', 'mtp_deeplabv3_r18_finetune_camvid', f'model = {SMALL}')):
        text = CONFIG.format(root=root, name=name, model=model)
        (folder / f'{stem}.py').write_text(text + cls * (stem == 'search'))
    return folder


@pytest.fixture(scope='module')
def tool(place, root):
    """Run a tool in this process, in the working folder; returns (status, output)."""
    def run(script, *arguments):
        for kind in (MMLogger, Visualizer, SegLocalVisualizer):  # a former run's would be taken, and write elsewhere
            kind._instance_dict.clear()
        output, code, before = io.StringIO(), 0, os.getcwd()
        os.chdir(place)
        environment = {'MMDOWNSTREAM_DATA': str(place / 'data'), 'OMP_NUM_THREADS': '1'}
        with (mock.patch.dict(os.environ, environment), redirect_stdout(output), redirect_stderr(output),
              mock.patch.object(sys, 'argv', [script, *map(str, arguments)])):
            try:
                runpy.run_path(str(root / 'tools' / script), run_name='__main__')
            except SystemExit as stop:
                code = stop.code
            finally:
                os.chdir(before)
        return code, output.getvalue()
    return run


@pytest.fixture(scope='module')
def dense(tool, place):
    """Checkpoint of the dense network."""
    code, output = tool('train.py', 'dense.py', '--work-dir', 'dense')
    assert code == 0 and 'mIoU' in output, output[-3000:]
    return place / 'dense/iter_2.pth'


def test_search_prune_finetune_test(tool, place, dense):
    code, output = tool('train.py', 'search.py', '--work-dir', 'search', '--cfg-options', f'load_from={dense}')
    assert code == 0, output[-3000:]
    structure = json.loads((place / 'search/pruned.json').read_text())
    assert structure['info']['method'] == 'scores' and structure['info']['task_weights'] == dict(seg=1.0, cls=1.0)
    ratio = structure['info']['pruned']['macs'] / structure['info']['dense']['macs']
    assert f'Pruned to {ratio:.1%} of the multiply-adds' in output and 0.5 < ratio <= 0.6
    search = torch.load(place / 'search/iter_2.pth', weights_only=False)['state_dict']
    moved = [value for key, value in search.items() if key.startswith('scores.')]
    assert len(moved) == 14 and all(not torch.equal(value, torch.ones_like(value)) for value in moved)
    code, output = tool('train.py', 'search.py', '--work-dir', 'search', '--resume', '--cfg-options',
                        'train_cfg.max_iters=3', 'custom_hooks.0.method=taylor', 'custom_hooks.0.batches=1')
    assert code == 0 and 'Resuming from search/iter_2.pth' in output and 'Iter(train) [3/3]' in output, output[-3000:]
    assert json.loads((place / 'search/pruned.json').read_text())['info']['method'] == 'taylor'
    options = ['load_from=search/pruned.pth', 'model.structure=search/pruned.json']
    code, output = tool('train.py', 'finetune.py', '--work-dir', 'tuned', '--cfg-options', *options)
    assert code == 0 and 'mIoU' in output, output[-3000:]
    code, output = tool('test.py', 'finetune.py', 'tuned/iter_2.pth', '--work-dir', 'tested', '--cfg-options',
                        options[1])
    assert code == 0 and 'mIoU' in output, output[-3000:]
    code, output = tool('test.py', 'dense.py', 'tuned/iter_2.pth', '--work-dir', 'tested')
    assert code == 1 and "does not fit the config's model" in output


def test_labels_pictures_and_scales_of_a_segmentor(tool, place, dense, root):
    """What `tools/test.py` and `tools/demo.py` leave for any segmentation config."""
    names = sorted(path.stem for path in (place / 'data/camvid/images/test').glob('*.jpg'))
    code, output = tool('test.py', 'dense.py', dense, '--work-dir', 'shown', '--out', 'labels', '--show-dir', 'drawn')
    assert code == 0 and '4 label images are in labels/' in output, output[-3000:]
    assert sorted(path.stem for path in (place / 'labels').glob('*.png')) == names
    labels = cv2.imread(str(place / 'labels' / f'{names[0]}.png'), cv2.IMREAD_UNCHANGED)
    truth = cv2.imread(str(place / 'data/camvid/labels/test' / f'{names[0]}.png'), cv2.IMREAD_UNCHANGED)
    assert labels.dtype == np.uint8 and labels.shape == truth.shape and labels.max() < 11
    [drawn] = {path.parent for path in (place / 'shown').glob('*/drawn/*.jpg')}
    assert sorted(path.stem for path in drawn.glob('*.jpg')) == names
    picture = cv2.imread(str(drawn / f'{names[0]}.jpg'))
    assert picture.shape == (truth.shape[0], 2 * truth.shape[1], 3)  # the truth beside it
    code, output = tool('demo.py', 'data/camvid/images/test', 'dense.py', dense, '--out-dir', 'demo')
    assert code == 0 and '4 images. Most pixels: ' in output, output[-3000:]
    again = cv2.imread(str(place / 'demo/preds' / f'{names[0]}.png'), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(again, labels) and len(list((place / 'demo/vis').glob('*.jpg'))) == 4
    code, output = tool('test.py', 'dense.py', dense, '--work-dir', 'shown', '--tta', '--out', 'several')
    assert code == 0 and 'mIoU' in output and len(list((place / 'several').glob('*.png'))) == 4, output[-3000:]
    code, output = tool('test.py', 'dense.py', dense, '--out', 'labels.txt')
    assert code == 1 and 'labels.txt: expected a file name that ends in .pkl, or for label images a folder' in output


def test_one_shot_by_both_tasks(tool, place, dense):
    code, output = tool('analysis_tools/prune.py', 'dense.py', dense, '--target', 0.6, *FLOORS, '--batches', 1,
                        '--cls-iters', 1, '--benchmark', '--repeats', 1, '--out-dir', 'one_shot')
    assert code == 0 and 'latency, ms' in output, output[-3000:]
    report = json.loads((place / 'one_shot/dense_taylor_report.json').read_text())
    assert report['info']['method'] == 'taylor'
    assert set(report['latency_ms']) == set(report['cpu_ms']) == {'dense', 'pruned'}
    code, output = tool('train.py', 'one_shot/dense_taylor.py', '--work-dir', 'one_shot_tuned')
    assert code == 0 and 'mIoU' in output, output[-3000:]
    code, output = tool('test.py', 'one_shot/dense_taylor.py', 'one_shot/dense_taylor.pth', '--work-dir', 'tested')
    assert code == 0 and 'mIoU' in output, output[-3000:]


def test_baselines_meet_the_same_budget(tool, place, dense):
    ratios, kept = {}, {}
    for method in ('bn_scale', 'l1', 'random', 'uniform'):
        code, output = tool('analysis_tools/prune.py', 'dense.py', dense, '--target', 0.6, *FLOORS, '--method', method,
                            '--out-dir', 'baselines')
        assert code == 0, output[-3000:]
        report = json.loads((place / f'baselines/dense_{method}_report.json').read_text())
        ratios[method] = report['macs_ratio']
        kept[method] = [row['kept'] / row['channels'] for row in report['layers']]
    assert max(kept['uniform']) - min(kept['uniform']) <= 2 / 8  # a multiple of 2 of at least 8 channels
    assert len({tuple(shares) for shares in kept.values()}) == 4
    assert all(0.5 < ratio <= 0.6 for ratio in ratios.values()), ratios
    code, output = tool('analysis_tools/prune.py', 'dense.py', 'none', '--metric', 'params', '--target', 0.6, *FLOORS,
                        '--method', 'l1', '--name', 'small', '--out-dir', 'baselines')
    assert code == 0 and 0.5 < json.loads((place / 'baselines/small_report.json').read_text())['params_ratio'] <= 0.6


def test_errors_of_the_tool(tool, dense):
    for arguments, message in (
            (['dense.py', dense, '--method', 'l1', '--target', 0.01], 'target 0.01 is below the floor'),
            (['dense.py', dense, '--method', 'scores'], 'is no search config'),
            (['search.py', dense, '--method', 'taylor'], 'for a search, PruneHook does it'),
            (['dense.py', dense, '--method', 'l1', '--cfg-options', 'model.decode_head.num_classes=7'],
             'does not fit dense.py: 0 entries are missing, 2 have another shape'),
            (['dense.py', 'nowhere.pth', '--method', 'l1'], 'nowhere.pth: no such checkpoint file')):
        code, output = tool('analysis_tools/prune.py', *arguments, '--out-dir', 'wrong')
        assert code == 1 and message in output, output[-2000:]
    code, output = tool('train.py', 'finetune.py', '--work-dir', 'wrong', '--cfg-options', f'load_from={dense}',
                        'model.structure=nowhere.json')
    assert code == 1 and 'nowhere.json: no such structure file' in output, output[-2000:]


def test_comparison_resumes_and_tabulates(load_tool, tmp_path, monkeypatch, root):
    """With steps that only leave what the real ones leave."""
    tool = load_tool('analysis_tools/compare_pruners.py')
    ran, monkey = [], dict(dense=30., none=31., multi_task=29., l1=27.)

    def fake(command, **kwargs):
        folder = next(part for part in map(type(tmp_path), command) if part.is_dir() and part.name.startswith('seed'))
        name, seed = folder.parent.name, int(folder.name[4:])
        ran.append((name, seed))
        if name in monkey:
            (folder / 'x/vis_data').mkdir(parents=True, exist_ok=True)
            (folder / 'x/vis_data/scalars.json').write_text(json.dumps(dict(mIoU=monkey[name] + seed)) + '\n')
        (folder / 'pruned_report.json').write_text('{"macs_ratio": 0.48}')
        return mock.Mock(returncode=int((name, seed) == ('l1', 1) and ran.count(('l1', 1)) == 1))

    monkeypatch.chdir(root)
    monkeypatch.setattr(tool.subprocess, 'run', fake)
    arguments = ['--pruners', 'none', 'multi_task', 'l1', '--seeds', '0', '1', '--out', str(tmp_path / 'out')]
    with pytest.raises(tool.UserError, match='l1, seed 1: ended with status 1'):
        tool.main(arguments)
    first = list(ran)
    command = json.loads((tmp_path / 'out/multi_task/seed0/step.json').read_text())['command']
    assert {'train_cfg.max_iters=80', 'param_scheduler.0.end=80'} <= set(command)
    command = json.loads((tmp_path / 'out/none/seed0/step.json').read_text())['command']
    assert {'train_cfg.max_iters=130', 'param_scheduler.0.end=130'} <= set(command)  # with the steps of the search
    tool.main(arguments)
    assert len(first) == 2 + 2 * (1 + 2 + 2) and ran[len(first):] == [('l1', 1)]
    rows = {row['pruner']: row for row in json.loads((tmp_path / 'out/table.json').read_text())['rows']}
    assert [row['mean'] for row in rows.values()] == [30.5, 31.5, 29.5, 27.5]
    assert rows['l1']['macs_ratio'] == 0.48 and rows['none']['macs_ratio'] == 1.0
    assert '| multi-task scores | 48.0% | 29.50 | 0.71 | 29.00 | 30.00 |' in (tmp_path / 'out/table.md').read_text()
