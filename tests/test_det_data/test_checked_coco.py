"""COCO annotations: what mmdet drops is counted, what nobody can use is an error."""

import copy
import json

import cv2
import numpy as np
import pytest
from mmdet.datasets import CocoDataset

from projects.det_data import CheckedCocoDataset
from projects.det_data.errors import AnnotationError

CLASSES = ('cat', 'dog')
SOUND = dict(
    images=[dict(id=1, file_name='a.png', width=40, height=30),
            dict(id=2, file_name='b.png', width=40, height=30)],
    categories=[dict(id=3, name='cat'), dict(id=7, name='dog'), dict(id=9, name='cow')],
    annotations=[
        dict(id=1, image_id=1, category_id=3, bbox=[1, 2, 10, 10], area=100, iscrowd=0),
        dict(id=2, image_id=1, category_id=9, bbox=[1, 2, 10, 10], area=100, iscrowd=0),
        dict(id=3, image_id=2, category_id=7, bbox=[35, 2, 20, 10], area=100, iscrowd=1)])


def annotation(number, **changes):
    return {**dict(id=number, image_id=1, category_id=3, bbox=[1, 1, 5, 5], area=25), **changes}


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Write annotations and two images; return (data set, warnings) of a data set class."""
    warnings = []
    monkeypatch.setattr('projects.det_data.coco.print_log',
                        lambda message, **kwargs: warnings.append(message))
    for name in 'ab':
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.zeros((30, 40, 3), np.uint8))

    def build(content, kind=CheckedCocoDataset, classes=CLASSES, **arguments):
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / 'instances.json').write_text(text)
        dataset = kind(data_root=str(tmp_path), ann_file='instances.json',
                       data_prefix=dict(img=''), metainfo=dict(classes=classes), **arguments)
        return dataset, warnings
    return build


def changed(**parts):
    return {**copy.deepcopy(SOUND), **parts}


def with_annotations(*more):
    return changed(annotations=[*copy.deepcopy(SOUND['annotations']), *more])


def test_sound_file_reads_as_with_mmdet_and_without_a_word(load):
    """A box partly outside, a crowd and a category that is not selected are no problem."""
    checked, warnings = load(SOUND)
    stock, _ = load(SOUND, kind=CocoDataset)
    assert [checked[i] for i in range(2)] == [stock[i] for i in range(2)]
    assert [len(checked[i]['instances']) for i in range(2)] == [1, 1]
    assert warnings == []


def test_dropped_annotations_are_counted_by_reason_in_one_warning(load):
    content = with_annotations(
        annotation(4, bbox=[100, 5, 10, 10]),                     # right of the image
        annotation(5, bbox=[5, -20, 10, 10]),                     # above it
        annotation(6, bbox=[5, 5, 0, 10]), annotation(7, bbox=[5, 5, -3, 4]),
        annotation(8, area=0),
        annotation(9, category_id=77),
        annotation(10, image_id=55))
    checked, warnings = load(content)
    stock, _ = load(content, kind=CocoDataset)
    assert [checked[i] for i in range(2)] == [stock[i] for i in range(2)]
    [warning] = warnings
    assert 'instances.json: 7 annotations are left out' in warning
    assert '2 with a box outside the image, for example annotation 4 of a.png' in warning
    assert '3 with a box narrower than a pixel or without area, for example annotation 6' in warning
    assert '1 of a category that the file does not list' in warning and 'category_id 77' in warning
    assert '1 of images that the file does not list' in warning and 'image_id 55' in warning


@pytest.mark.parametrize('content, reason', [
    ('{"images": [', 'not valid JSON'),
    ('[1, 2]', 'not supported'),
    (json.dumps({'images': [], 'annotations': []}), "no list 'categories'"),
    (changed(images=[dict(id=1, width=4, height=4)]), r"images\[0\] has no 'file_name'"),
    (changed(images=[]), 'lists no images'),
    (with_annotations(dict(id=4, bbox=[1, 1, 5, 5])), r"annotations\[3\] has no 'image_id'"),
    (with_annotations(dict(id=4, image_id=1, bbox=[1, 1, 5, 5], category_id=3)),
     "annotation 4 has no 'area'"),
    (with_annotations(annotation(4, bbox=[1, 2, 3])), r'bbox is \[1, 2, 3\]'),
    (with_annotations(annotation(1)), 'not unique'),
])
def test_file_that_cannot_be_read(load, content, reason):
    with pytest.raises(AnnotationError, match=rf'instances\.json.*{reason}'):
        load(content)


def test_missing_file(tmp_path):
    with pytest.raises(AnnotationError, match='none.json: no such annotation file'):
        CheckedCocoDataset(data_root=str(tmp_path), ann_file='none.json')


@pytest.mark.parametrize('classes, reason', [
    (('cat', 'bird'), "no category 'bird'"),
    (('dog', 'cat'), 'order differs from the file\'s, which is cat,dog'),
    (CocoDataset.METAINFO['classes'], "no category 'person'.* and 72 more"),
])
def test_classes_that_are_not_the_files(load, classes, reason):
    """mmdet numbers labels in the file's order; a gap or another order would shift the names."""
    with pytest.raises(AnnotationError, match=rf'{reason}.*Categories of the file: cat, dog, cow'):
        load(SOUND, classes=classes)


def test_category_listed_twice(load):
    content = changed(categories=[*SOUND['categories'], dict(id=11, name='cat')])
    with pytest.raises(AnnotationError, match="lists 'cat' more than once"):
        load(content)


def test_nothing_to_train_on_is_an_error_but_testing_needs_no_objects(load):
    with pytest.raises(AnnotationError, match='none of its 2 images has an object to train on'):
        load(changed(annotations=[]))
    dataset, _ = load(changed(annotations=[]), test_mode=True)
    assert len(dataset) == 2
    del (bare := changed())['annotations']  # as in image_info_test-dev2017.json
    assert len(load(bare, test_mode=True)[0]) == 2


def test_annotations_of_another_folder(load):
    content = changed(images=[dict(id=1, file_name='x/a.png', width=40, height=30)])
    with pytest.raises(AnnotationError, match=r'1 of 1 images looked at do not exist.*x/a\.png'):
        load(content)


def test_real_coco(shared):
    """Real annotations load as with mmdet, image by image."""
    root = shared / 'data' / 'coco_tiny'
    arguments = dict(data_root=str(root), ann_file='annotations/instances_train2017.json',
                     data_prefix=dict(img='train2017/'), filter_cfg=dict(filter_empty_gt=True))
    checked, stock = CheckedCocoDataset(**arguments), CocoDataset(**arguments)
    assert len(checked) == len(stock) == 80
    assert all(checked[i] == stock[i] for i in range(len(stock)))
