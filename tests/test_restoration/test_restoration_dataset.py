"""`RestorationDataset`: layouts, and what is said about folders that do not fit; reading of image files."""

import os

import cv2
import numpy as np
import pytest
from mmengine.dataset import ConcatDataset

from projects.restoration import RestorationDataset, SameSourceBatchSampler
from projects.restoration.image_files import read_image, read_image_and_kind
from projects.runtime.errors import DataError

EDSR = dict(data_prefix=dict(img='LR_bicubic/X2', gt='HR'), filename_tmpl=dict(img='{}x2', gt='{}'), scale=2)


def names(dataset, kind):
    return [os.path.basename(info[f'{kind}_path']) for info in map(dataset.get_data_info, range(len(dataset)))]


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b'')


# ---- layouts

def test_edsr_layout(tmp_path):
    touch(tmp_path, 'HR/baby.png', 'HR/bird.png', 'LR_bicubic/X2/babyx2.png', 'LR_bicubic/X2/birdx2.png', 'HR/a.db')
    dataset = RestorationDataset(data_root=str(tmp_path), metainfo=dict(dataset_type='Set5'), **EDSR)
    assert names(dataset, 'img') == ['babyx2.png', 'birdx2.png'] and names(dataset, 'gt') == ['baby.png', 'bird.png']
    info = dataset.get_data_info(0)
    assert (info['key'], info['scale']) == ('baby', 2)
    assert info['img_path'] == f'{tmp_path}/LR_bicubic/X2/babyx2.png'
    assert dataset.metainfo == dict(dataset_type='Set5', task_name='restoration')


def test_name_of_a_set_is_no_file(tmp_path, monkeypatch):
    """mmengine would open a folder that happens to be called like the set."""
    touch(tmp_path, 'Set5/a.png')
    monkeypatch.chdir(tmp_path)
    dataset = RestorationDataset(data_prefix=dict(gt='Set5'), metainfo=dict(dataset_type='Set5'))
    assert dataset.metainfo['dataset_type'] == 'Set5'


def test_rain_pairs_share_a_folder(tmp_path):
    touch(tmp_path, 'rain-001.png', 'norain-001.png', 'rain-002.png', 'norain-002.png')
    dataset = RestorationDataset(data_root=str(tmp_path), data_prefix=dict(img='', gt=''),
                                 filename_tmpl=dict(img='rain-{}', gt='norain-{}'))
    assert names(dataset, 'img') == ['rain-001.png', 'rain-002.png']
    assert names(dataset, 'gt') == ['norain-001.png', 'norain-002.png']


def test_folders_of_classes_as_in_imagenet(tmp_path):
    touch(tmp_path, 'train/n01/n01_1.JPEG', 'train/n02/n02_7.JPEG', 'train/n02/n02_7.xml')
    dataset = RestorationDataset(data_root=str(tmp_path), data_prefix=dict(gt='train'), recursive=True)
    assert [dataset.get_data_info(i)['key'] for i in (0, 1)] == ['n01/n01_1', 'n02/n02_7'] and len(dataset) == 2


def test_list_of_basicsr(tmp_path):
    touch(tmp_path, 'HR_sub/0001_s001.png', 'HR_sub/0001_s002.png', 'HR_sub/0002_s001.png', 'X2_sub/0001_s001.png',
          'X2_sub/0001_s002.png', 'X2_sub/0002_s001.png')
    (tmp_path / 'meta.txt').write_text('0001_s002.png (480,480,3)\n\n0002_s001.png (480,480,3)\n')
    arguments = dict(ann_file='meta.txt', data_root=str(tmp_path), data_prefix=dict(img='X2_sub', gt='HR_sub'))
    assert names(RestorationDataset(**arguments), 'gt') == ['0001_s002.png', '0002_s001.png']
    assert names(RestorationDataset(index_range=(1, 1), **arguments), 'img') == ['0001_s002.png']


def test_range_of_div2k(tmp_path):
    touch(tmp_path, *[f'HR/{number:04d}.png' for number in (1, 800, 801, 900)])
    arguments = dict(data_root=str(tmp_path), data_prefix=dict(gt='HR'))
    assert names(RestorationDataset(index_range=(1, 800), **arguments), 'gt') == ['0001.png', '0800.png']
    assert names(RestorationDataset(index_range=(801, 810), **arguments), 'gt') == ['0801.png']
    with pytest.raises(DataError, match=r'no image is left of 4 \(index_range=\(5, 6\)\)'):
        RestorationDataset(index_range=(5, 6), **arguments)


def test_partners_outside_the_range_may_be_missing(tmp_path):
    touch(tmp_path, 'HR/0001.png', 'HR/0900.png', 'LR_bicubic/X2/0001x2.png')
    assert len(RestorationDataset(data_root=str(tmp_path), index_range=(1, 800), **EDSR)) == 1


# ---- what does not fit

@pytest.mark.parametrize('gone, words', [
    ('HR/bird.png', ['HR (data_prefix.gt): 1 images', "'bird'", 'a file bird.*']),
    ('LR_bicubic/X2/birdx2.png', ['LR_bicubic/X2 (data_prefix.img): 1 images', "'bird'", 'a file birdx2.*'])])
def test_missing_partner(tmp_path, gone, words):
    touch(tmp_path, 'HR/baby.png', 'HR/bird.png', 'LR_bicubic/X2/babyx2.png', 'LR_bicubic/X2/birdx2.png')
    (tmp_path / gone).unlink()
    with pytest.raises(DataError) as error:
        RestorationDataset(data_root=str(tmp_path), **EDSR)
    assert all(word in str(error.value) for word in words), error.value


def test_what_else_is_said_when_it_is_built(tmp_path):
    touch(tmp_path, 'HR/a.png', 'HR/a.jpg', 'LR_bicubic/X3/ax3.png', 'LR_bicubic/X2/notes.txt')
    for arguments, message in (
            (dict(data_prefix=dict(gt='HR')), "a.*are both image 'a'"),
            (dict(data_prefix=dict(gt='nowhere')), 'nowhere: no such folder'),
            (dict(data_prefix=dict(img='LR_bicubic/X2')), r'no image whose name is like .* \(0 others\)'),
            (dict(data_prefix=dict(img='LR_bicubic/X3'), filename_tmpl=dict(img='{}x2')), r'\(1 others\)'),
            (dict(data_prefix=dict(gt='HR'), search_key='img'), "search_key='img'"),
            (dict(data_prefix=dict(gt='HR'), filename_tmpl=dict(gt='x2')), "filename_tmpl.gt='x2'"),
            (dict(data_prefix=dict(gt='HR'), ann_file='no.txt'), 'no.txt: no such list'),
            (dict(data_prefix=dict(img='LR_bicubic/X3'), index_range=(1, 2)), 'does not begin with a number')):
        with pytest.raises(DataError, match=message):
            RestorationDataset(data_root=str(tmp_path), **arguments)


def test_list_with_a_missing_image(tmp_path):
    touch(tmp_path, 'HR/a.png', 'HR/b.png', 'LR/a.png')
    (tmp_path / 'list.txt').write_text('a.png\nb.png\n')
    with pytest.raises(DataError, match=r'list.txt: 1 of its 2 images are missing in .*LR \(data_prefix.img\).* b.png'):
        RestorationDataset('list.txt', data_root=str(tmp_path), data_prefix=dict(gt='HR', img='LR'))


# ---- files

def test_grey_becomes_rgb_and_opaque_alpha_is_dropped(tmp_path, write_image):
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    assert np.array_equal(read_image(str(write_image(tmp_path / 'g.png', grey))), np.stack([grey] * 3, axis=2))
    rgba = np.dstack([grey, grey + 1, grey + 2, np.full_like(grey, 255)])
    assert np.array_equal(read_image(str(write_image(tmp_path / 'a.png', rgba)))[..., 0], grey + 2)  # red comes first
    assert [read_image_and_kind(str(tmp_path / name))[1] for name in ('g.png', 'a.png')] == [True, False]


def test_files_that_are_refused(tmp_path, write_image):
    grey = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    half = np.dstack([grey % 256] * 4).astype(np.uint8)
    whole = write_image(tmp_path / 'whole.png', (64, 64)).read_bytes()
    photo = write_image(tmp_path / 'whole.jpg', (64, 64)).read_bytes()
    for name, content, message in (
            ('deep.png', cv2.imencode('.png', grey * 16)[1].tobytes(), 'type uint16, expected 8 bit'),
            ('clear.png', cv2.imencode('.png', half)[1].tobytes(), 'transparent'),
            ('cut.png', whole[:len(whole) // 2], 'truncated'), ('cut.jpg', photo[:len(photo) // 2], 'truncated'),
            ('empty.png', b'', r'empty \(0 bytes\)'), ('text.png', b'no image', 'known image format')):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f'{name}: .*{message}'):
            read_image(str(tmp_path / name))
    with pytest.raises(DataError, match='gone.png: the image cannot be read'):
        read_image(str(tmp_path / 'gone.png'))


def test_bytes_behind_the_end_of_an_image_do_no_harm(tmp_path, write_image):
    path = write_image(tmp_path / 'a.png', (8, 8))
    before = read_image(str(path))
    path.write_bytes(path.read_bytes() + b'appended by a camera')
    assert np.array_equal(read_image(str(path)), before)


# ---- batches

def test_batches_of_one_source(tmp_path):
    touch(tmp_path, *[f'{folder}/{i}.png' for folder in 'ab' for i in range(5)])
    dataset = ConcatDataset([RestorationDataset(data_root=str(tmp_path), data_prefix=dict(gt=folder), scale=scale)
                             for folder, scale in (('a', 2), ('b', 3))])

    class Mixed(list):
        pass

    sampler = Mixed([0, 5, 1, 6, 2, 7, 8, 3])
    sampler.dataset = dataset
    assert list(SameSourceBatchSampler(sampler, 2)) == [[0, 1], [5, 6], [7, 8], [2, 3]]
    sampler.append(9)
    assert list(SameSourceBatchSampler(sampler, 2))[-1] == [9]
    assert len(list(SameSourceBatchSampler(sampler, 2, drop_last=True))) == 4
    sampler.dataset = dataset.datasets[0]
    with pytest.raises(TypeError, match='ConcatDataset'):
        SameSourceBatchSampler(sampler, 2)
