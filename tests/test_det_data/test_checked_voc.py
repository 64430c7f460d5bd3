"""VOC annotations: own class lists, what is left out, and files that cannot be read."""

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets import VOCDataset
from mmdet.evaluation import VOCMetric

from projects.det_data import CheckedVOCDataset
from projects.det_data.errors import AnnotationError

CLASSES = ('cell', 'plate')


def xml(*objects, size=(40, 30)):
    parts = ''.join(
        f'<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{box[0]}</xmin>'
        f'<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>'
        for name, *box in objects)
    return (f'<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{parts}'
            '</annotation>')


SOUND = [xml(('cell', 1, 1, 10, 10)), xml(('plate', 5, 5, 40, 30), ('cell', 2, 2, 9, 9))]


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Write a VOC folder with these XML files; return (data set, warnings)."""
    warnings = []
    monkeypatch.setattr('projects.det_data.voc.print_log',
                        lambda message, **kwargs: warnings.append(message))
    for part in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (tmp_path / part).mkdir(parents=True)

    def build(files, kind=CheckedVOCDataset, classes=CLASSES, names=None, **arguments):
        for index, text in enumerate(files):
            (tmp_path / f'Annotations/{index}.xml').write_text(text)
            cv2.imwrite(str(tmp_path / f'JPEGImages/{index}.jpg'), np.zeros((30, 40, 3), np.uint8))
        names = names or [str(index) for index in range(len(files))]
        (tmp_path / 'ImageSets/Main/all.txt').write_text('\n'.join(names))
        dataset = kind(data_root=str(tmp_path), ann_file='ImageSets/Main/all.txt',
                       data_prefix=dict(sub_data_root=''), metainfo=dict(classes=classes),
                       **arguments)
        return dataset, warnings
    return build


def test_sound_folder_reads_as_with_mmdet_and_without_a_word(load):
    checked, warnings = load(SOUND)
    stock, _ = load(SOUND, kind=VOCDataset)
    assert [checked[i] for i in range(2)] == [stock[i] for i in range(2)]
    assert warnings == []


def test_boxes_that_mmdet_ignores_are_counted(load):
    dataset, warnings = load([xml(('cell', 1, 1, 10, 30), ('cell', 1, 1, 31, 30))],
                              filter_cfg=dict(bbox_min_size=16))
    assert [item['ignore_flag'] for item in dataset.get_data_info(0)['instances']] == [1, 0]
    assert '1 smaller than filter_cfg.bbox_min_size, ignored in training' in warnings[-1]


def test_test_sets_without_annotations(load, tmp_path):
    """As the servers' ones: images and a list of them, no XML file."""
    dataset, warnings = load(SOUND, annotated=False, test_mode=True)
    for path in tmp_path.glob('Annotations/*'):
        path.unlink()
    dataset, warnings = load([], annotated=False, test_mode=True, names=['0', '1'])
    info = dataset.get_data_info(1)
    assert (info['img_id'], info['width'], info['height'], info['instances']) == ('1', 40, 30, []) and warnings == []
    with pytest.raises(AnnotationError, match=r'0\.xml: no such file'):
        load([], test_mode=True, names=['0', '1'])


def test_left_out_objects_are_counted_by_reason(load):
    files = [xml(('cell', 1, 1, 10, 10), ('bolt', 1, 1, 5, 5), ('bolt', 2, 2, 5, 5)),
             xml(('cell', 60, 5, 70, 9), ('cell', 9, 5, 9, 9), ('plate', 1, 1, 40, 30))]
    dataset, warnings = load(files)
    assert [len(dataset[i]['instances']) for i in range(2)] == [1, 1]
    [warning] = warnings
    assert 'all.txt: 4 annotations are left out' in warning
    assert "2 of a name that is not among the classes, for example 'bolt'" in warning
    assert '1 with a box outside the image' in warning
    assert 'box [60, 5, 70, 9] in 40 x 30' in warning
    assert '1 with a box without width or height' in warning


def test_testing_keeps_the_boxes_that_the_metric_counts(load):
    dataset, _ = load([xml(('cell', 60, 5, 70, 9), ('cell', 1, 1, 5, 5))], test_mode=True)
    assert len(dataset[0]['instances']) == 2


def test_misspelled_class_is_pointed_out(load):
    _, warnings = load([xml(('cell', 1, 1, 9, 9), ('plates', 1, 1, 9, 9))])
    assert 'no object is called plate. Names in the XML files: cell, plates.' in warnings[0]


@pytest.mark.parametrize('text, reason', [
    ('<annotation><size>', 'not valid XML'),
    ('<annotation><size><width>4</width></size></annotation>', 'not a VOC annotation'),
    ('<annotation><object><name>cell</name></object><size><width>4</width><height>4</height></size>'
     '</annotation>', 'not a VOC annotation'),
    (xml(('cell', 'one', 1, 2, 2)), 'not a VOC annotation'),
])
def test_file_that_cannot_be_read(load, text, reason):
    with pytest.raises(AnnotationError, match=rf'1\.xml: {reason}'):
        load([SOUND[0], text])


def test_name_without_a_file(load):
    with pytest.raises(AnnotationError, match=r"7\.xml: no such file.*all\.txt lists '7'"):
        load(SOUND, names=['0', '7'])


def test_foreign_classes_name_what_is_there(load):
    with pytest.raises(AnnotationError, match=r'aeroplane.*Names in the XML files: cell, plate'):
        load(SOUND, classes=VOCDataset.METAINFO['classes'])


def test_metric_evaluates_foreign_classes(load, capsys):
    """Perfect detections of an own class list score 1, under the right names."""
    dataset, _ = load(SOUND, test_mode=True)
    assert dataset.metainfo['dataset_type'] is None
    metric = VOCMetric(metric='mAP', eval_mode='11points')
    metric.dataset_meta = dataset.metainfo
    for index in range(len(dataset)):
        objects = dataset[index]['instances']
        boxes = torch.tensor([item['bbox'] for item in objects], dtype=torch.float32)
        labels = torch.tensor([item['bbox_label'] for item in objects])
        metric.process({}, [dict(
            gt_instances=dict(bboxes=boxes, labels=labels),
            ignored_instances=dict(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long()),
            pred_instances=dict(bboxes=boxes, labels=labels, scores=torch.ones(len(boxes))))])
    assert metric.evaluate(len(dataset))['pascal_voc/mAP'] == 1.0


def test_folder_called_voc2007_with_own_classes(load, tmp_path):
    """The folder's name does not make mmdet's metric print VOC's class names."""
    load(SOUND)
    (tmp_path / 'VOC2007').symlink_to(tmp_path)
    arguments = dict(data_root=str(tmp_path), ann_file='ImageSets/Main/all.txt',
                     data_prefix=dict(sub_data_root='VOC2007/'), metainfo=dict(classes=CLASSES))
    assert VOCDataset(**arguments).metainfo['dataset_type'] == 'VOC2007'
    assert CheckedVOCDataset(**arguments).metainfo['dataset_type'] is None


def test_real_voc_layout(shared):
    """BCCD, 364 microscope images: every object is of its three classes."""
    arguments = dict(data_root=str(shared / 'data' / 'bccd'),
                     ann_file='ImageSets/Main/test.txt', data_prefix=dict(sub_data_root=''),
                     metainfo=dict(classes=('RBC', 'WBC', 'Platelets')), test_mode=True)
    checked, stock = CheckedVOCDataset(**arguments), VOCDataset(**arguments)
    assert len(checked) == 72
    assert all(checked[i] == stock[i] for i in range(72))
