"""`data_root=` and `classes=`: every place that depends on them changes, and nothing else."""

import pytest
from mmengine.config import Config

from projects.runtime.data_options import (
    apply_data_options,
    class_names,
    replace_classes,
    replace_data_root,
    use_single_voc_folder,
)
from projects.runtime.dataset_configs import split_datasets
from projects.runtime.errors import ConfigError


@pytest.fixture(scope='module')
def stock():
    """mmdet's own FCOS and VOC configs, read once."""
    return {name: Config.fromfile(path) for name, path in _stock_paths().items()}


def _stock_paths():
    import mmdet
    configs = f'{mmdet.__path__[0]}/.mim/configs'
    return dict(coco=f'{configs}/fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
                voc=f'{configs}/pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py')


@pytest.fixture
def coco(stock):
    return stock['coco'].copy()


@pytest.fixture
def voc(stock):
    return Config.fromfile(stock['voc'].filename)


def make_folder(root, lists=('trainval', 'test')):
    for part in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (root / part).mkdir(parents=True)
    for name in lists:
        (root / f'ImageSets/Main/{name}.txt').write_text('a\n')
    return root


def test_all_paths_move_with_the_data_root(coco):
    former = coco.pretty_text
    assert former.count("'data/coco/") > 4
    replace_data_root(coco, '/mine')  # the slash is optional
    assert "'data/coco/" not in coco.pretty_text
    assert coco.data_root == '/mine/'
    assert coco.train_dataloader.dataset.data_root == '/mine/'
    assert coco.test_evaluator.ann_file == '/mine/annotations/instances_val2017.json'
    assert coco.pretty_text.replace("'/mine/", "'data/coco/") == former


def test_a_path_that_was_set_by_hand_stays(coco):
    coco.merge_from_dict({'val_dataloader.dataset.data_root': '/other/'})
    replace_data_root(coco, '/mine/')
    assert coco.val_dataloader.dataset.data_root == '/other/'


def test_neighbours_of_the_root_are_not_below_it():
    dataset = dict(type='X', data_root='data/coco/', ann_file='data/coco_extra/a.json')
    cfg = Config(dict(data_root='data/coco/', train_dataloader=dict(dataset=dataset)))
    replace_data_root(cfg, '/mine/')
    assert cfg.train_dataloader.dataset == dict(
        type='X', data_root='/mine/', ann_file='data/coco_extra/a.json')


def test_without_a_single_root_the_keys_must_be_set_one_by_one():
    datasets = [dict(type='X', data_root='a/'), dict(type='X', data_root='b/')]
    cfg = Config(dict(train_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=datasets))))
    with pytest.raises(ConfigError, match='no single data root to replace .found: a/, b/.'):
        replace_data_root(cfg, '/mine/')


def test_classes_reach_all_data_sets_and_heads(coco):
    replace_classes(coco, ['RBC', 'WBC', 'Platelets'])
    assert coco.model.bbox_head.num_classes == 3
    for entry in split_datasets(coco):
        assert entry.cfg['metainfo']['classes'] == ('RBC', 'WBC', 'Platelets')
        assert len(entry.cfg['metainfo']['palette']) == 3


def test_classes_reach_the_second_stage_but_not_the_proposals(voc):
    voc.model.rpn_head.num_classes = 1
    replace_classes(voc, ['a', 'b'])
    assert voc.model.roi_head.bbox_head.num_classes == 2
    assert voc.model.rpn_head.num_classes == 1


@pytest.mark.parametrize('value, names', [
    ('person', ('person',)), (['a', 'b'], ('a', 'b')), ([1, 2], ('1', '2')),
    (('traffic light',), ('traffic light',))])
def test_class_names(value, names):
    assert class_names(value) == names


@pytest.mark.parametrize('value', ['', [], ['a', 'a']])
def test_bad_class_names(value):
    with pytest.raises(ConfigError, match='distinct class names'):
        class_names(value)


def test_model_without_number_of_classes():
    with pytest.raises(ConfigError, match='num_classes'):
        replace_classes(Config(dict(model=dict(type='X'))), 'a')


def test_single_voc_folder_is_read_as_it_is(voc, tmp_path):
    folder = make_folder(tmp_path / 'bccd')
    notes = apply_data_options(voc, dict(data_root=str(folder), classes=['RBC', 'WBC']))
    [train] = split_datasets(voc, ('train',))
    [test] = split_datasets(voc, ('test',))
    assert train.key == 'train_dataloader.dataset.dataset'  # RepeatDataset stays
    assert train.cfg['ann_file'] == 'ImageSets/Main/trainval.txt'
    assert test.cfg['ann_file'] == 'ImageSets/Main/test.txt'
    assert train.cfg['data_prefix'] == test.cfg['data_prefix'] == dict(sub_data_root='')
    assert train.root == f'{folder}/'
    assert voc.test_evaluator.type == 'VOCMetric'
    assert 'single VOC folder' in notes[0]


def test_single_voc_folder_without_trainval_and_test(voc, tmp_path):
    replace_data_root(voc, make_folder(tmp_path / 'own', lists=('train', 'val')))
    use_single_voc_folder(voc)
    names = [entry.cfg['ann_file'].rpartition('/')[2] for entry in split_datasets(voc)]
    assert names == ['train.txt', 'val.txt', 'val.txt']


def test_one_year_of_a_devkit_is_a_single_folder(voc, tmp_path):
    make_folder(tmp_path / 'VOC2007')
    apply_data_options(voc, dict(data_root=str(tmp_path / 'VOC2007')))
    assert len(split_datasets(voc, ('train',))) == 1


def test_a_devkit_stays_a_devkit(voc, tmp_path):
    make_folder(tmp_path / 'VOC2007')
    make_folder(tmp_path / 'VOC2012')
    assert apply_data_options(voc, dict(data_root=str(tmp_path))) == []
    assert len(split_datasets(voc, ('train',))) == 2
