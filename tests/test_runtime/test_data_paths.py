"""Missing data: one message with every path, its config key, the layout and the ways out."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from projects.runtime.data_paths import check_data_paths, find_missing
from projects.runtime.errors import DataError


def coco(root, split='train'):
    return dict(type='CocoDataset', data_root=root, ann_file=f'annotations/{split}.json',
                data_prefix=dict(img=f'{split}/'))


def voc(root, year):
    return dict(type='VOCDataset', data_root=root,
                ann_file=f'{year}/ImageSets/Main/trainval.txt',
                data_prefix=dict(sub_data_root=f'{year}/'))


def loader(dataset):
    return dict(batch_size=1, dataset=dataset)


@pytest.fixture
def coco_folder(tmp_path):
    root = tmp_path / 'coco'
    for split in ('train', 'val'):
        (root / split).mkdir(parents=True)
        (root / 'annotations').mkdir(exist_ok=True)
        (root / 'annotations' / f'{split}.json').write_text(json.dumps({}))
    return root


def make_year(devkit: Path, year: str):
    for part in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (devkit / year / part).mkdir(parents=True)
    (devkit / year / 'ImageSets/Main/trainval.txt').write_text('a\n')


def coco_config(root):
    root = f'{root}/'
    return Config(dict(
        train_dataloader=loader(dict(type='RepeatDataset', times=2, dataset=coco(root))),
        val_dataloader=loader(coco(root, 'val')),
        val_evaluator=[dict(type='CocoMetric', ann_file=f'{root}annotations/val.json')]))


def test_complete_data_pass(coco_folder):
    check_data_paths(coco_config(coco_folder), ('train', 'val'))


def test_a_missing_root_is_named_once_with_layout_and_ways_out(tmp_path, monkeypatch):
    monkeypatch.setenv('MMDOWNSTREAM_DATA', str(tmp_path))
    with pytest.raises(DataError) as error:
        check_data_paths(coco_config(tmp_path / 'coco'), ('train', 'val'))
    message = str(error.value)
    assert message.count('config key') == 1
    assert f'{tmp_path}/coco/   (config key train_dataloader.dataset.dataset.data_root)' in message
    for line in ('annotations/train.json', 'train/*.jpg', 'annotations/val.json', 'val/*.jpg',
                 '--cfg-options data_root=/path/to/coco/',
                 f'MMDOWNSTREAM_DATA=/path/to, the folder that holds coco/ (now {tmp_path})'):
        assert line in message


def test_missing_parts_are_named_together_with_their_keys(coco_folder):
    (coco_folder / 'annotations/val.json').unlink()
    (coco_folder / 'train').rmdir()
    missing = find_missing(coco_config(coco_folder), ('train', 'val'))
    assert missing == {
        f'{coco_folder}/train/': 'train_dataloader.dataset.dataset.data_prefix.img',
        f'{coco_folder}/annotations/val.json': 'val_dataloader.dataset.ann_file'}


def test_the_metric_has_its_own_annotation_file(coco_folder):
    cfg = coco_config(coco_folder)
    cfg.val_evaluator[0].ann_file = '/nowhere/val.json'
    assert find_missing(cfg, ('val',)) == {'/nowhere/val.json': 'val_evaluator.0.ann_file'}
    assert find_missing(cfg, ('train',)) == {}


def test_remote_data_are_not_looked_for(tmp_path):
    check_data_paths(coco_config('s3://bucket/coco'), ('train', 'val'))
    cfg = coco_config(tmp_path / 'coco')
    cfg.train_dataloader.dataset.dataset.backend_args = dict(backend='petrel')
    assert find_missing(cfg, ('train',)) == {}


def test_devkit_without_a_year_says_how_to_use_the_other(tmp_path):
    make_year(tmp_path, 'VOC2007')
    root = f'{tmp_path}/'
    cfg = Config(dict(train_dataloader=loader(dict(
        type='ConcatDataset', datasets=[voc(root, 'VOC2007'), voc(root, 'VOC2012')]))))
    with pytest.raises(DataError) as error:
        check_data_paths(cfg, ('train',))
    message = str(error.value)
    assert 'VOC2012/ImageSets/Main/trainval.txt' in message
    assert 'train_dataloader.dataset.datasets.1.ann_file' in message
    assert 'VOC2007/JPEGImages   (config' not in message
    assert 'one year alone, without VOC2012' in message
    assert f'--cfg-options data_root={tmp_path}/VOC2007/' in message


def test_data_sets_of_unknown_layout_are_checked_for_what_they_name(tmp_path):
    cfg = Config(dict(train_dataloader=loader(dict(
        type='ScanNetSegDataset', data_root=str(tmp_path), ann_file='infos.pkl',
        data_prefix=dict(pts='points', pts_instance_mask='instance_mask')))))
    assert set(find_missing(cfg, ('train',))) == {f'{tmp_path}/infos.pkl', f'{tmp_path}/points'}
