"""TokenFusion for 3D object detection from points and images (arXiv 2204.08721, section 4.3).

Importing registers, in mmdet3d's registries, the detector `TokenFusionGroupFree3D` with its parts (`PointNet2`,
`FusedGroupFree3DHead`, `DetectionViT`, `DetectionTokenHead`, `PointImageExchange`), the data sets `SUNRGBDImageDataset`
and `ScanNetViewsDataset`, the transforms `LoadViews` and `FixedPointSample`, the metric `BoxAP3D`, and the hook
`ProjectionPictureHook`.
"""

from .datasets import FixedPointSample, LoadViews, ScanNetViewsDataset, SUNRGBDImageDataset
from .detector import TokenFusionGroupFree3D
from .errors import CalibrationError
from .exchange import PointImageExchange
from .group_free_head import FusedGroupFree3DHead
from .image_head import DetectionTokenHead
from .metric import BoxAP3D
from .pictures import ProjectionPictureHook
from .pointnet2 import PointNet2
from .projection import Pixels, Places, project_boxes, to_patches, to_pixels
from .vit import DetectionViT

__all__ = [
    'BoxAP3D', 'CalibrationError', 'DetectionTokenHead', 'DetectionViT', 'FixedPointSample', 'FusedGroupFree3DHead',
    'LoadViews', 'Pixels', 'Places', 'PointImageExchange', 'PointNet2', 'ProjectionPictureHook',
    'SUNRGBDImageDataset', 'ScanNetViewsDataset', 'TokenFusionGroupFree3D', 'project_boxes', 'to_patches', 'to_pixels']
