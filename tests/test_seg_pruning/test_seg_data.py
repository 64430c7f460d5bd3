"""CamVid, crops of classes, folders of classes."""

import numpy as np
import pytest
import torch
from mmseg.registry import DATASETS
from PIL import Image

from projects.seg_data import RandomAreaCrop
from projects.seg_data.class_crops import class_boxes
from projects.seg_data.errors import SegDataError

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
PREFIX = dict(img_path='images/train', seg_map_path='labels/train')


def camvid(root, **kwargs):
    return dict(type='CamVidDataset', data_root=str(root), data_prefix=dict(PREFIX), **kwargs)


def test_void_becomes_255(drawn, tmp_path):
    drawn.fill(camvid(tmp_path), count=1)
    path = tmp_path / 'labels/train/000.png'
    labels = np.array(Image.open(path))
    labels[:10] = 11
    Image.fromarray(labels).save(path)
    found = DATASETS.build(camvid(tmp_path, pipeline=LOAD))[0]['data_samples'].gt_sem_seg.data[0]
    assert set(found[:10].unique().tolist()) == {255}
    assert np.array_equal(found[10:].numpy(), labels[10:])


def test_choice_of_classes_keeps_the_void(drawn, tmp_path):
    drawn.fill(camvid(tmp_path), count=1)
    dataset = DATASETS.build(camvid(tmp_path, pipeline=LOAD, metainfo=dict(classes=('road', 'sky'))))
    assert dataset.label_map == {**{old: 255 for old in range(11)}, 3: 0, 0: 1, 11: 255}
    assert dataset.metainfo['palette'] == [[128, 64, 128], [128, 128, 128]]


def test_camvid_itself(shared):
    root = shared / 'data' / 'camvid'
    if not root.is_dir():
        pytest.skip('needs shared/data/camvid')
    for split, count in (('train', 367), ('val', 101), ('test', 233)):
        cfg = camvid(root, pipeline=LOAD)
        cfg['data_prefix'] = dict(img_path=f'images/{split}', seg_map_path=f'labels/{split}')
        dataset = DATASETS.build(cfg)
        assert len(dataset) == count and len(dataset.metainfo['classes']) == len(dataset.metainfo['palette']) == 11
    labels = dataset[0]['data_samples'].gt_sem_seg.data
    assert labels.shape == (1, 360, 480) and set(labels.unique().tolist()) <= {*range(11), 255}


def test_images_without_labels_are_named(drawn, tmp_path):
    drawn.fill(camvid(tmp_path), count=3)
    (tmp_path / 'labels/train/001.png').unlink()
    with pytest.raises(SegDataError, match=r'001\.png: no labels for this image, nor for 0 others of 3'):
        DATASETS.build(camvid(tmp_path))
    (tmp_path / 'images/none').mkdir()
    cfg = camvid(tmp_path)
    cfg['data_prefix'] = dict(img_path='images/none', seg_map_path='labels/train')
    with pytest.raises(SegDataError, match=r'images/none: no \.jpg images'):
        DATASETS.build(cfg)


def test_boxes_of_classes():
    labels = np.full((20, 30), 255, np.uint8)
    labels[2:5, 3:13] = 1  # 30 pixels, and a smaller region of the same class
    labels[10:12, 0:4] = 1
    labels[15:20, 25:30] = 2  # 25 pixels
    assert class_boxes(labels, 3, 10) == [(1, (3, 2, 10, 3)), (2, (25, 15, 5, 5))]
    assert class_boxes(labels, 3, 26) == [(1, (3, 2, 10, 3))]
    assert class_boxes(labels, 2, 10) == [(1, (3, 2, 10, 3))]


def test_crops_show_their_class(drawn, tmp_path):
    """Pixels of the drawn images are their class's grey, 40 x class + 20 + noise of 20."""
    drawn.fill(camvid(tmp_path), count=3)
    dataset = DATASETS.build(dict(
        type='ClassCropDataset', dataset=camvid(tmp_path, pipeline=LOAD), margin=0.,
        pipeline=[dict(type='Resize', scale=(32, 24)), dict(type='PackClsInputs')]))
    labels = [dataset.get_data_info(index)['gt_label'] for index in range(len(dataset))]
    assert len(set(labels)) > 2 and dataset.metainfo['classes'][0] == 'sky'
    for index, label in enumerate(labels):
        sample = dataset[index]
        assert sample['inputs'].shape == (3, 24, 32) and sample['inputs'].dtype == torch.uint8
        assert sample['labels'] == label
        grey = sample['inputs'].float()
        own = ((grey > 40 * label + 10) & (grey < 40 * label + 50)).float().mean()
        assert own > 0.3  # a box may hold other classes, too
    with pytest.raises(SegDataError, match='no region of a class has at least 100000 pixels in 3 images'):
        DATASETS.build(dict(type='ClassCropDataset', dataset=camvid(tmp_path), min_pixels=100000))


def test_folders_of_classes(drawn, tmp_path):
    drawn.fill_folders(tmp_path / 'train')
    steps = [dict(type='LoadImageFromFile'), dict(type='RandomAreaCrop'), dict(type='Resize', scale=(32, 32)),
             dict(type='PackClsInputs')]
    dataset = DATASETS.build(dict(type='ClassFolderDataset', data_root=str(tmp_path / 'train'), pipeline=steps))
    assert dataset.metainfo['classes'] == ('class0', 'class1', 'class2')
    assert [int(dataset[index]['labels']) for index in range(6)] == [0, 0, 1, 1, 2, 2]
    with pytest.raises(SegDataError, match=r'nowhere: no such folder .*ClassCropDataset makes one'):
        DATASETS.build(dict(type='ClassFolderDataset', data_root=str(tmp_path / 'nowhere')))
    (tmp_path / 'empty' / 'a').mkdir(parents=True)
    with pytest.raises(SegDataError, match='no images in its 1 folders'):
        DATASETS.build(dict(type='ClassFolderDataset', data_root=str(tmp_path / 'empty')))


def test_area_crop_keeps_to_its_ranges():
    np.random.seed(0)
    image = np.arange(60 * 80).reshape(60, 80, 1).repeat(3, 2)
    for _ in range(50):
        crop = RandomAreaCrop(area=(0.25, 0.5))(dict(img=image))['img']
        height, width = crop.shape[:2]
        assert 0.23 < height * width / 4800 < 0.52 and 0.7 < width / height < 1.4
        top, left = divmod(int(crop[0, 0, 0]), 80)
        assert np.array_equal(crop, image[top:top + height, left:left + width])
