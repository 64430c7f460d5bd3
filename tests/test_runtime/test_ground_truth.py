"""Configs for test sets without ground truth."""

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.datasets import BaseSegDataset
from mmseg.registry import TRANSFORMS
from PIL import Image

from projects.runtime.data_paths import find_missing
from projects.runtime.errors import DataError
from projects.runtime.ground_truth import leave_out_ground_truth
from projects.runtime.prediction_dump import check_names

LABELS = dict(type='LoadAnnotations')
STEPS = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(16, 12)), LABELS, dict(type='PackSegInputs')]


def config(root):
    dataset = dict(type='BaseSegDataset', data_root=str(root), pipeline=STEPS,
                   data_prefix=dict(img_path='images', seg_map_path='masks'))
    return Config(dict(test_dataloader=dict(dataset=dataset), test_evaluator=dict(type='IoUMetric'), tta_pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='TestTimeAug', transforms=[[dict(type='Resize')], [LABELS], [dict(type='PackSegInputs')]])]))


def test_nothing_of_it_is_read(tmp_path):
    """Label images are asked for before a run, unless it is said that there are none; then the image alone loads."""
    (tmp_path / 'images').mkdir()
    Image.new('RGB', (8, 6)).save(tmp_path / 'images/a.jpg')
    cfg = config(tmp_path)
    assert list(find_missing(cfg, ('test',))) == [f'{tmp_path}/masks']
    leave_out_ground_truth(cfg)
    assert cfg.test_evaluator == [] and find_missing(cfg, ('test',)) == {}
    assert [len(part) for part in cfg.tta_pipeline[1].transforms] == [1, 1]
    dataset = cfg.test_dataloader.dataset
    sample = BaseSegDataset(data_root=dataset.data_root, data_prefix=dataset.data_prefix, pipeline=[
        TRANSFORMS.build(step) for step in dataset.pipeline])[0]
    assert np.shape(sample['inputs']) == (3, 12, 16)


def test_annotations_of_voc_are_not_looked_for(tmp_path):
    """Devkit layout; detection names its XML folder by the root of a year."""
    for part in ('VOC2012/JPEGImages', 'VOC2012/ImageSets/Main'):
        (tmp_path / part).mkdir(parents=True)
    (tmp_path / 'VOC2012/ImageSets/Main/test.txt').write_text('a')
    cfg = Config(dict(test_dataloader=dict(dataset=dict(
        type='CheckedVOCDataset', data_root=f'{tmp_path}/', ann_file='VOC2012/ImageSets/Main/test.txt',
        data_prefix=dict(sub_data_root='VOC2012/'), pipeline=STEPS)), test_evaluator=dict(type='VOCMetric')))
    assert find_missing(cfg, ('test',))
    leave_out_ground_truth(cfg)
    assert find_missing(cfg, ('test',)) == {} and cfg.test_dataloader.dataset.annotated is False


def test_images_of_one_name_are_refused_before_the_run():
    """In several processes each would see one of them."""
    check_names('labels', ['A/x.jpg', 'B/y.jpg'])
    with pytest.raises(DataError, match=r'--out labels: B/x.jpg and A/x.jpg would both be written to x.png'):
        check_names('labels', ['A/x.jpg', 'B/x.jpg'])
