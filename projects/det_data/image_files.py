"""Loading images with an error that names the file.

OpenCV answers an empty file with an anonymous assertion and, depending on its version, a truncated
JPEG with an image whose lower part is grey. Both are met in practice after an interrupted download.
"""

import os

import cv2
from mmcv.transforms import LoadImageFromFile
from mmdet.registry import TRANSFORMS
from mmengine.logging import print_log
from PIL import Image

from projects.runtime.image_bytes import TAIL, image_kind, missing_data

from .errors import AnnotationError, ImageError

_HINT = 'Copy or download it again, or drop it from the annotations.'
_TRAINING_HINT = ('In training, on_error="skip" in the LoadCheckedImage step passes over such '
                  'images and counts them.')


def image_size(path: str) -> tuple[int, int]:
    """Width and height of a local image, read from its header; (0, 0) for a file that is missing or no image."""
    try:
        with Image.open(path) as image:
            return image.size
    except OSError:
        return 0, 0  # loading it says more


def check_image_file(path: str) -> None:
    """Raise `ImageError` if a local image file is missing, empty or truncated.

    It reads a dozen bytes of an intact file; formats other than JPEG and PNG are left to the
    decoder.
    """
    try:
        size = os.stat(path).st_size
    except OSError as error:
        raise ImageError(f'{path}: no such image ({error.strerror}). The annotations list it; is '
                         'the image folder (data_prefix) the right and complete one?') from error
    if size == 0:
        raise ImageError(f'{path}: the image file is empty (0 bytes). {_HINT}')
    with open(path, 'rb') as file:
        head = file.read(2)
        file.seek(max(0, size - TAIL))
        tail = file.read()
    if missing_data(head, tail, path) is not None:
        raise ImageError(f'{path}: the {image_kind(head)} file is truncated: it ends after {size:,} bytes '
                         f'without the data that its header announces. {_HINT}')


@TRANSFORMS.register_module()
class LoadCheckedImage(LoadImageFromFile):
    """mmcv's `LoadImageFromFile`, naming the file if it is missing, empty, truncated or no image.

    Args:
        on_error: 'raise', or 'skip' to pass over the image with a counted warning. The data set
            then takes another image, which is possible in training only.
        kwargs: arguments of `LoadImageFromFile`; with remote `backend_args` only decoding is
            checked.

    Raises:
        ImageError: from `transform`, if `on_error` is 'raise'.
    """

    def __init__(self, *args, on_error: str = 'raise', **kwargs) -> None:
        if on_error not in ('raise', 'skip'):
            raise ValueError(f"on_error={on_error!r}: expected 'raise' or 'skip'")
        super().__init__(*args, **kwargs)
        self.on_error = on_error
        self._skipped: set[str] = set()

    def transform(self, results: dict) -> dict | None:
        """Read `results['img_path']` into `results['img']`, uint8 H x W x 3 in BGR order."""
        try:
            return self._load(results)
        except ImageError as error:
            if self.on_error == 'raise':
                raise ImageError(f'{error} {_TRAINING_HINT}') from error
            self._report(results['img_path'], error)
            return None

    def _load(self, results: dict) -> dict | None:
        path = results['img_path']
        if self.backend_args is None and self.file_client_args is None and '://' not in path:
            check_image_file(path)
        try:
            return super().transform(results)
        except (AssertionError, OSError, ValueError, cv2.error) as error:
            raise ImageError(f'{path}: cannot be decoded as an image by {self.imdecode_backend}. '
                             f'Expected a JPEG, PNG or similar file. {_HINT}') from error

    def _report(self, path: str, error: ImageError) -> None:
        if path not in self._skipped:
            self._skipped.add(path)
            print_log(f'Skipped image {len(self._skipped)} (in this process): {error}',
                      logger='current', level=30)


def require_images(ann_file: str, data_list: list[dict], hint: str, count: int = 64) -> None:
    """Look whether `count` images, evenly spread over the list, exist; remote ones are passed over.

    Raises:
        AnnotationError: some do not; the message ends with `hint`, behind the first one's path.
    """
    paths = [info['img_path'] for info in data_list]
    looked_at = paths[::max(1, len(paths) // count)][:count]
    missing = [path for path in looked_at if '://' not in path and not os.path.exists(path)]
    if missing:
        raise AnnotationError(f'{ann_file}: {len(missing)} of {len(looked_at)} images looked at do '
                              f'not exist, for example {missing[0]}{hint}')
