"""Data of segmentation and of the classification tasks beside it.

Importing registers, in mmseg's registries, the data sets `CamVidDataset`, `ClassFolderDataset` and `ClassCropDataset`
the transforms `RandomAreaCrop` and `PackClsInputs`, and the hook `SegPictureHook`.
"""

from .camvid import CamVidDataset
from .class_crops import ClassCropDataset
from .class_folders import ClassFolderDataset
from .pictures import SegPictureHook
from .transforms import PackClsInputs, RandomAreaCrop

__all__ = ['CamVidDataset', 'ClassCropDataset', 'ClassFolderDataset', 'PackClsInputs', 'RandomAreaCrop',
           'SegPictureHook']
