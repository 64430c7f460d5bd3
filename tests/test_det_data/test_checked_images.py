"""Image files: sound ones load as with mmcv, broken ones are named."""

import io

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import BaseDataset
from PIL import Image

from projects.det_data import LoadCheckedImage
from projects.det_data.errors import ImageError
from projects.det_data.image_files import check_image_file


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)


def encoded(pixels, suffix, *options):
    return cv2.imencode(suffix, pixels, list(options))[1].tobytes()


def with_thumbnail(pixels):
    """A JPEG whose EXIF header holds a complete small JPEG, as cameras write them."""
    small = encoded(pixels[:8, :8], '.jpg')
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'JPEG', exif=b'Exif\0\0' + small)
    return buffer.getvalue()


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp', '.webp', '.tiff'])
def test_sound_images_load_as_with_mmcv(tmp_path, pixels, suffix):
    path = tmp_path / f'a{suffix}'
    path.write_bytes(encoded(pixels, suffix))
    checked = LoadCheckedImage().transform(dict(img_path=str(path)))
    stock = LoadImageFromFile().transform(dict(img_path=str(path)))
    assert (checked.pop('img') == stock.pop('img')).all()
    assert checked == stock


@pytest.mark.parametrize('tail', [b'\0' * 4096, b'appended by an editor'])
@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_bytes_after_the_end_are_tolerated(tmp_path, pixels, suffix, tail):
    path = tmp_path / f'a{suffix}'
    path.write_bytes(encoded(pixels, suffix) + tail)
    assert LoadCheckedImage().transform(dict(img_path=str(path)))['img'].shape == (48, 64, 3)


@pytest.mark.parametrize('kept', [0.3, 0.6, 0.95])
@pytest.mark.parametrize('kind', ['jpg', 'progressive', 'thumbnail', 'png'])
def test_truncated(tmp_path, pixels, kind, kept):
    content = dict(jpg=encoded(pixels, '.jpg'), png=encoded(pixels, '.png'),
                   progressive=encoded(pixels, '.jpg', cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
                   thumbnail=with_thumbnail(pixels))[kind]
    path = tmp_path / 'a.img'
    path.write_bytes(content[:int(len(content) * kept)])
    with pytest.raises(ImageError, match=r'a\.img: the (JPEG|PNG) file is truncated'):
        check_image_file(str(path))


@pytest.mark.parametrize('content, reason', [
    (b'', r'empty \(0 bytes\)'), (b'no image at all', 'cannot be decoded'),
    (b'\xff\xd8 starts like a JPEG \xff\xd9', 'cannot be decoded')])
def test_no_image(tmp_path, content, reason):
    path = tmp_path / 'a.jpg'
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf'a\.jpg: .*{reason}'):
        LoadCheckedImage().transform(dict(img_path=str(path)))


def test_missing_file(tmp_path):
    with pytest.raises(ImageError, match=r'none\.jpg: no such image'):
        LoadCheckedImage().transform(dict(img_path=str(tmp_path / 'none.jpg')))


def test_training_can_pass_over_broken_images(tmp_path, pixels, monkeypatch):
    """With on_error='skip' the data set takes another image; each broken one is counted once."""
    messages = []
    monkeypatch.setattr('projects.det_data.image_files.print_log',
                        lambda message, **kwargs: messages.append(message))
    (tmp_path / 'good.png').write_bytes(encoded(pixels, '.png'))
    (tmp_path / 'bad.png').write_bytes(b'')

    class Images(BaseDataset):
        def load_data_list(self):
            return [dict(img_path=str(tmp_path / name)) for name in ('bad.png', 'good.png')]

    np.random.seed(0)
    images = Images(pipeline=[LoadCheckedImage(on_error='skip')])
    for _ in range(3):
        assert images[0]['img_path'].endswith('good.png')
    [message] = messages
    assert message.startswith('Skipped image 1 ') and 'bad.png' in message


def test_unknown_choice():
    with pytest.raises(ValueError, match="expected 'raise' or 'skip'"):
        LoadCheckedImage(on_error='ignore')


def test_real_images_are_all_sound(shared):
    """No false alarm on 160 COCO and 364 BCCD photographs."""
    images = [*(shared / 'data/coco_tiny').rglob('*.jpg'), *(shared / 'data/bccd').rglob('*.jpg')]
    assert len(images) == 524
    for path in images:
        check_image_file(str(path))
