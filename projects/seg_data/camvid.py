"""CamVid road scenes with 11 classes (Brostow et al., 2009; the split and classes of SegNet, arXiv 1511.00561)."""

import os

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from .errors import SegDataError

VOID = 11


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """CamVid: 367 training, 101 validation and 233 test images of 480 x 360 pixels.

    Layout: `images/{train,val,test}/NAME.jpg` and `labels/{train,val,test}/NAME.png`, pixels are class indices; 11,
    "unlabelled", is read as 255, which losses and metrics ignore.

    Raises:
        SegDataError: no images, or some without labels.
    """

    METAINFO = dict(
        classes=('sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign symbol', 'fence', 'car', 'pedestrian',
                 'bicyclist'),
        palette=[[128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222], [128, 128, 0],
                 [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0], [0, 128, 192]])

    def __init__(self, img_suffix: str = '.jpg', seg_map_suffix: str = '.png', **kwargs) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    @classmethod
    def get_label_map(cls, new_classes=None) -> dict[int, int]:
        """mmseg's map of labels for a choice of classes, with the void label added."""
        own = super().get_label_map(new_classes) or {}
        return {**own, VOID: 255}

    def load_data_list(self) -> list[dict]:
        """Image and label paths, sorted by name."""
        found = super().load_data_list()
        if not found:
            raise SegDataError(f'{self.data_prefix["img_path"]}: no {self.img_suffix} images (data_prefix.img_path). '
                               'Expected images/SPLIT/NAME.jpg and labels/SPLIT/NAME.png, see data/README.md')
        lacking = [info['seg_map_path'] for info in found if not os.path.isfile(info['seg_map_path'])]
        if lacking:
            raise SegDataError(f'{lacking[0]}: no labels for this image, nor for {len(lacking) - 1} others of '
                               f'{len(found)} (key data_prefix.seg_map_path)')
        return found
