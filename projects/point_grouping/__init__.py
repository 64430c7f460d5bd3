"""3D instance segmentation by hierarchical point grouping and MaskScoreNet (MaskGroup, arXiv 2203.14662).

Importing registers, in mmdet3d's registries, the detector `MaskGroup` with its parts (`GroupingDataPreprocessor`,
`GroupingUNet`, `PointHead`, `HierarchicalPointGrouping`, `MaskScoreHead`), the data sets `ScanNetGroupingDataset` and
`S3DISGroupingDataset`, their transforms, the metrics `ScanNetInstanceMetric` and `S3DISInstanceMetric`, and the hook
`GroupingPictureHook`.
"""

from .datasets import GroupingDataset, S3DISGroupingDataset, ScanNetGroupingDataset
from .grouping import HierarchicalPointGrouping
from .heads import PointHead
from .mask_group import GroupingDataPreprocessor, MaskGroup
from .mask_score_head import MaskScoreHead
from .metrics import S3DISInstanceMetric, ScanNetInstanceMetric
from .pictures import GroupingPictureHook
from .proposals import Proposals
from .transforms import (
    ColorShift,
    ElasticDistortion,
    InterleavedParts,
    LoadGroupingScene,
    NormalizeScene,
    PackGroupingInputs,
    RandomLinearMap,
    RandomVoxelCrop,
    SubsamplePoints,
    ToVoxelGrid,
)

__all__ = [
    'ColorShift', 'ElasticDistortion', 'GroupingDataPreprocessor', 'GroupingDataset', 'GroupingPictureHook',
    'HierarchicalPointGrouping', 'InterleavedParts', 'LoadGroupingScene', 'MaskGroup', 'MaskScoreHead',
    'NormalizeScene', 'PackGroupingInputs', 'PointHead', 'Proposals', 'RandomLinearMap', 'RandomVoxelCrop',
    'S3DISGroupingDataset', 'S3DISInstanceMetric', 'ScanNetGroupingDataset', 'ScanNetInstanceMetric',
    'SubsamplePoints', 'ToVoxelGrid',
]
