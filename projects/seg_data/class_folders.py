"""A classification set in folders, as ImageNet is laid out: ROOT/CLASS/IMAGE."""

import os
from typing import Any

from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS, TRANSFORMS

from .errors import SegDataError

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp')


@DATASETS.register_module()
class ClassFolderDataset(BaseDataset):
    """Images in one folder for each class; classes are numbered in the order of the folders' names.

    Args:
        data_root (str): folder of the class folders, which may have folders within.
        pipeline (list): transforms; samples begin with `img_path` and `gt_label`.

    Raises:
        SegDataError: the folder is missing, or holds no images.
    """

    def __init__(self, data_root: str, pipeline: list | tuple = (), **kwargs) -> None:
        transforms = [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline]
        super().__init__(data_root=data_root, pipeline=transforms, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Paths and labels, sorted."""
        root = self.data_root
        if not os.path.isdir(root):
            raise SegDataError(f'{root}: no such folder (key data_root of {type(self).__name__}). Expected one folder '
                               'of images for each class in it, as in ImageNet: train/n01440764/*.JPEG. Without such a '
                               'set, ClassCropDataset makes one of a segmentation set')
        classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
        found = [dict(img_path=os.path.join(folder, name), gt_label=label)
                 for label, kind in enumerate(classes)
                 for folder, _, names in sorted(os.walk(os.path.join(root, kind)))
                 for name in sorted(names) if name.lower().endswith(SUFFIXES)]
        if not found:
            raise SegDataError(f'{root}: no images in its {len(classes)} folders. Expected CLASS/NAME with one of the '
                               f'endings {", ".join(SUFFIXES)}')
        self._metainfo['classes'] = tuple(classes)
        return found
