"""The tools that compare runs, look at data and predictions, and check the environment."""

import csv
import importlib.metadata
import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement, InstanceData, PixelData

CONFIG = Path(__file__).with_name('tiny_fcos.py')
META = dict(classes=('a', 'b'), palette=[(255, 0, 0), (0, 0, 255)])


@pytest.fixture
def module(load_tool, root, monkeypatch):
    """Function: an analysis tool as a module, which finds the files beside it."""
    monkeypatch.syspath_prepend(str(root / 'tools' / 'analysis_tools'))
    return lambda name: load_tool(f'analysis_tools/{name}.py')


def write_run(folder, aps):
    """A work dir of a training that was evaluated with these APs."""
    records = []
    for step, ap in enumerate(aps, 1):
        records += [dict(iter=10 * step, step=10 * step, loss=1 / step),
                    {'coco/bbox_mAP': ap, 'coco/bbox_mAP_l': -1, 'step': step}]
    (folder / '20260101_000000' / 'vis_data').mkdir(parents=True)
    (folder / '20260101_000000' / 'vis_data' / 'scalars.json').write_text('\n'.join(map(json.dumps, records)))
    return str(folder)


def test_several_runs_in_one_picture(module, tmp_path):
    tool = module('plot_curves')
    runs = [write_run(tmp_path / 'one', [0.1, 0.3]), f'other={write_run(tmp_path / "two", [0.2, 0.1])}']
    named = tool.read_named(runs)
    assert list(named) == ['one', 'other'] and tool.choose_metrics(named, None) == ['coco/bbox_mAP']
    tool.main([*runs, '--out', str(tmp_path / 'both.png')])
    height, width, _ = cv2.imread(str(tmp_path / 'both.png')).shape
    assert 2 * height < width < 3 * height  # two panels
    with pytest.raises(tool.DataError, match='--metrics AP: no run recorded it. Recorded were: coco/bbox_mAP'):
        tool.choose_metrics(named, ['AP'])


def test_results_of_logs_and_of_a_checkpoint_that_is_tested_once(module, tmp_path, monkeypatch):
    """`run` stands for the process of tools/test.py and leaves what that leaves."""
    tool, calls = module('compare_results'), []

    def run(command, **kwargs):
        calls.append(command[1:])
        folder = Path(command[command.index('--work-dir') + 1]) / '20260102_000000'
        folder.mkdir()
        (folder / '20260102_000000.json').write_text('{"coco/bbox_mAP": 0.25, "time": 0.1, "data_time": 0.1}')
        return SimpleNamespace(returncode=0)
    monkeypatch.setattr(tool, 'subprocess', SimpleNamespace(run=run, STDOUT=None))
    checkpoint = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=dict(weight=torch.zeros(1))), checkpoint)
    entries = [f'logged={write_run(tmp_path / "run", [0.4, 0.3])}', f'{CONFIG}:{checkpoint}',
               '--out', str(tmp_path / 'out'), '--cfg-options', 'a=1']
    for extra, ap in (([], 0.3), (['--best', 'coco/bbox_mAP'], 0.4)):
        tool.main([*entries, *extra])
        rows = json.loads((tmp_path / 'out' / 'table.json').read_text())
        assert [(row['name'], row['metrics']['coco/bbox_mAP']) for row in rows] == [
            ('logged', ap), ('tiny_fcos epoch_1', 0.25)]
    [command] = calls
    assert command[0].endswith('tools/test.py') and command[1:3] == [str(CONFIG), str(checkpoint)]
    assert command[-2:] == ['--cfg-options', 'a=1']
    assert (tmp_path / 'out' / 'table.md').read_text().splitlines()[::2] == [
        '| name | coco/bbox_mAP | from |', '| logged | 0.4 | step 1 |']
    with pytest.raises(tool.DataError, match='--best coco/bbox_map: .*There are: coco/bbox_mAP'):
        tool.logged_metrics(tmp_path / 'run', 'coco/bbox_map')
    with pytest.raises(tool.DataError, match='no metrics: no TIME/vis_data/scalars.json'):
        tool.logged_metrics(tmp_path / 'out', None)
    with pytest.raises(tool.ConfigError, match='no such folder. Expected a work dir, or CONFIG.py:CHECKPOINT'):
        tool.Entry.parse('absent')


def test_browsing_a_detection_set(module, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setenv('MMDOWNSTREAM_DATA', str(tiny_data))
    tool = module('browse_dataset')
    tool.main([str(CONFIG), '--num', '2', '--draws', '3', '--out-dir', str(tmp_path)])
    [first, last] = sorted(path.name for path in tmp_path.iterdir())
    assert first == '000000_000.png' and last.endswith('_007.png')
    picture = cv2.imread(str(tmp_path / first))
    assert picture.shape[0] == 3 * (256 + tool.sheet.__globals__['HEADER'])  # three draws of 64 pixels, four times
    with pytest.raises(tool.DataError, match='--indices 8: expected numbers from 0 to 7'):
        tool.main([str(CONFIG), '--indices', '8', '--out-dir', str(tmp_path)])


def test_panels_show_what_a_sample_holds(module):
    """Colours of classes at their places; the truth as it is; channels behind colours; points from above."""
    panels_of = module('sample_panels').panels_of
    image = torch.zeros(3, 40, 60, dtype=torch.uint8)
    image[0] = 200
    boxes = InstanceData(bboxes=torch.tensor([[10., 5., 30., 25.]]), labels=torch.tensor([1]))
    shown = dict(panels_of(dict(inputs=image, data_samples=BaseDataElement(gt_instances=boxes)), META, bgr=True))
    assert shown['input'][0, 0].tolist() == [0, 0, 200]  # blue comes first in OpenCV's order
    assert shown['boxes, 1'][15, 30].tolist() == [0, 0, 255] and shown['boxes, 1'][15, 20].tolist() == [0, 0, 200]

    labels = torch.full((1, 40, 60), 255)
    labels[:, :, :30] = 0
    sample = BaseDataElement(gt_sem_seg=PixelData(data=labels))
    depth = torch.cat([image.float(), torch.arange(60.).expand(1, 40, 60)])
    shown = dict(panels_of(dict(inputs=depth, data_samples=sample), META, bgr=True))
    assert list(shown) == ['input', 'input, channel 3', 'labels, 1 classes']
    assert shown['labels, 1 classes'][0, [0, 40]].tolist() == [[233, 0, 0], [200, 0, 0]]
    assert len(np.unique(shown['input, channel 3'][0], axis=0)) == 60

    truth = torch.arange(3 * 20 * 20, dtype=torch.uint8).reshape(3, 20, 20)
    shown = dict(panels_of(dict(inputs=image, data_samples=BaseDataElement(gt_img=truth)), {}, bgr=False))
    assert np.array_equal(shown['gt_img'], truth.permute(1, 2, 0).numpy())

    points = torch.tensor([[0., 0, 0, 0, 0, 0], [1, 1, 0, 255, 0, 0], [1, 1, 0.5, 0, 255, 0], [0, 0, 9, 0, 0, 255]])
    masks = BaseDataElement(pts_semantic_mask=torch.tensor([0, 1, 1, 5]), pts_instance_mask=torch.tensor([-1, 0, 0, 0]))
    shown = dict(panels_of(dict(inputs=dict(points=points), data_samples=BaseDataElement(gt_pts_seg=masks)), META,
                           bgr=True))
    assert list(shown) == ['4 points', 'classes, 2', 'instances, 1']
    cloud = shown['4 points']  # the higher of two points at one place is seen, the ceiling is not
    assert cloud[0, -1].tolist() == [0, 255, 0] and cloud[-1, 0].tolist() == [0, 0, 0]
    assert shown['classes, 2'][0, -1].tolist() == [0, 0, 255]


def test_confusion_of_boxes_and_pixels(module):
    """One hit, one of the wrong class, one missed, one false alarm, and one excused by a crowd."""
    counts = module('confusion_counts')
    truth = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], float)
    found = np.array([[1, 0, 11, 10], [0, 0, 10, 9], [20, 0, 30, 10], [60, 0, 70, 10], [80, 0, 90, 10]], float)
    crowd = np.array([[79, 0, 99, 20]], float)
    matrix = counts.count_detections(truth, np.array([0, 1, 1]), found, np.array([1, 0, 0, 1, 1]), crowd, 2, 0.5)
    assert matrix.tolist() == [[1, 0, 0], [1, 0, 1], [0, 2, 0]]
    pixels = counts.count_pixels(np.array([[0, 1, 255], [1, 1, 0]]), np.array([[0, 0, 1], [1, 1, 1]]), 2)
    assert pixels.tolist() == [[1, 1], [1, 2]]


def test_confusion_of_a_detector(module, tiny_data, tmp_path, monkeypatch):
    """All squares found, one disc called a square, four missed for their low score, and one box too many."""
    monkeypatch.setenv('MMDOWNSTREAM_DATA', str(tiny_data))
    content = json.loads((tiny_data / 'tiny' / 'annotations' / 'val.json').read_text())
    predictions = []
    for image in content['images']:
        own = [item for item in content['annotations'] if item['image_id'] == image['id']]
        boxes = torch.tensor([[x, y, x + w, y + h] for x, y, w, h in (item['bbox'] for item in own)], dtype=torch.float)
        scores, labels = torch.tensor([0.9, 0.1]), torch.tensor([0, 1])
        if image['id'] == 0:
            scores[1], labels[1] = 0.5, 0
            boxes = torch.cat([boxes, torch.tensor([[0., 0, 3, 3]])])
            scores, labels = torch.cat([scores, scores[1:]]), torch.tensor([0, 0, 1])
        predictions.append(dict(img_id=image['id'], pred_instances=dict(bboxes=boxes, scores=scores, labels=labels)))
    (tmp_path / 'p.pkl').write_bytes(pickle.dumps(predictions, protocol=2))
    tool = module('confusion_matrix')
    tool.main([str(CONFIG), str(tmp_path / 'p.pkl'), '--out', str(tmp_path / 'c.png')])
    assert list(csv.reader((tmp_path / 'c.csv').open())) == [
        ['true \\ predicted', 'square', 'disc', 'background'], ['square', '5', '0', '0'], ['disc', '1', '0', '4'],
        ['background', '0', '1', '0']]
    assert cv2.imread(str(tmp_path / 'c.png')).shape[0] > 300
    (tmp_path / 'p.pkl').write_bytes(b'no pickle')
    with pytest.raises(tool.DataError, match='not a readable pickle'):
        tool.read_predictions(tmp_path / 'p.pkl')


def test_confusion_of_a_segmentor(module, tmp_path):
    """Labels of the folder that tools/test.py writes, against the pipeline's own truth; 255 does not count."""
    tool, truth = module('confusion_matrix'), np.array([[0, 1, 255], [1, 1, 0]], np.uint8)
    for folder, array in (('img', truth), ('ann', truth), ('out', truth % 2)):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / 'x.png'), array)
    (tmp_path / 'config.py').write_text(
        "default_scope = 'mmseg'\ntest_dataloader = dict(dataset=dict(type='BaseSegDataset', img_suffix='.png',\n"
        f"    data_root='{tmp_path}/', data_prefix=dict(img_path='img', seg_map_path='ann'),\n"
        "    metainfo=dict(classes=('a', 'b')), pipeline=[dict(type='LoadAnnotations')]))\n")
    arguments = [str(tmp_path / 'config.py'), str(tmp_path / 'out'), '--out', str(tmp_path / 'c.png')]
    tool.main(arguments)
    assert (tmp_path / 'c.csv').read_text() == 'true \\ predicted,a,b\na,2,0\nb,0,3\n'
    cv2.imwrite(str(tmp_path / 'out' / 'x.png'), truth[:1])
    with pytest.raises(tool.DataError, match=r'x.png: \(1, 3\) \(height, width\), expected \(2, 3\)'):
        tool.main(arguments)


def test_throughput_counts_every_image(module, tiny_data, tmp_path, monkeypatch):
    """Five images in batches of two: 2, 2, 1, and again from the first one."""
    monkeypatch.setenv('MMDOWNSTREAM_DATA', str(tiny_data))
    module('benchmark_throughput').main([
        str(CONFIG), '--batch-sizes', '2', '--iters', '2', '--repeat', '2', '--warmup', '0', '--device', 'cpu', '--out',
        str(tmp_path / 't.json')])
    rows = json.loads((tmp_path / 't.json').read_text())['rows']
    assert [(row['part'], row['images']) for row in rows] == [('model', 7), ('data+model', 7)]
    assert all(len(row['per_second']) == 2 and min(row['per_second']) > 0 and row['peak_mib'] > 50 for row in rows)


def test_environment_names_what_is_missing_and_how_to_mend_it(module, tiny_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('MMDOWNSTREAM_DATA', str(tiny_data))
    tool = module('check_env')
    assert tool.main(['--extras', 'det', '--', str(CONFIG)]) == 0
    assert 'ok        packages of the extra det\n' in capsys.readouterr().out
    monkeypatch.setattr(importlib.metadata, 'requires', lambda name: [
        'torch', 'numpy>=99; extra == "det"', 'no-such-package; extra == "det"', 'other; extra == "seg"'])
    assert tool.main(['--extras', 'det', '--', str(tmp_path / 'none.py')]) == 1
    said = capsys.readouterr().out
    assert "lacking numpy>=99 (found" in said and "no-such-package\n" in said and 'other' not in said
    assert "mend: pip install -c constraints.txt --no-build-isolation -e '.[det]'" in said
    assert 'none.py: no such config file' in said and '2 missing' in said
