"""Detection data that say what is wrong with them: COCO and VOC readers, and image loading.

Importing it registers `CheckedCocoDataset` and `CheckedVOCDataset` in mmdet's DATASETS and
`LoadCheckedImage` in its TRANSFORMS.
"""

from .coco import CheckedCocoDataset
from .image_files import LoadCheckedImage
from .voc import CheckedVOCDataset

__all__ = ['CheckedCocoDataset', 'CheckedVOCDataset', 'LoadCheckedImage']
