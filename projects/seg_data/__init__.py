"""Data of segmentation and of the classification tasks beside it.

Importing registers, in mmseg's registries, the data sets `CamVidDataset`, `ClassFolderDataset` and `ClassCropDataset`
and the transforms `RandomAreaCrop` and `PackClsInputs`.
"""

from .camvid import CamVidDataset
from .class_crops import ClassCropDataset
from .class_folders import ClassFolderDataset
from .transforms import PackClsInputs, RandomAreaCrop

__all__ = ['CamVidDataset', 'ClassCropDataset', 'ClassFolderDataset', 'PackClsInputs', 'RandomAreaCrop']
