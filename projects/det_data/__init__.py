"""Detection data that say what is wrong with them: COCO and VOC readers, image loading; and COCO's metrics, faster.

Importing it registers `CheckedCocoDataset` and `CheckedVOCDataset` in mmdet's DATASETS, `LoadCheckedImage` in its
TRANSFORMS and `FastCocoMetric` in its METRICS.
"""

from .coco import CheckedCocoDataset
from .fast_coco_metric import FastCocoMetric
from .image_files import LoadCheckedImage
from .voc import CheckedVOCDataset

__all__ = ['CheckedCocoDataset', 'CheckedVOCDataset', 'FastCocoMetric', 'LoadCheckedImage']
