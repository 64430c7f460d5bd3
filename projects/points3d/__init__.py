"""3D operators that run on CPU and GPU: sparse convolution, neighbour search, clustering, sampling, reductions.

Importing registers nothing and needs torch, NumPy and SciPy alone; spconv is imported when a GPU tensor asks for it.
"""

from .clustering import connected_components
from .neighbours import ball_query, furthest_point_sample, three_interpolate, three_nn
from .pointnet2 import ball_query_padded, gather_points, group_points
from .segments import segment_max, segment_mean, segment_min, segment_sum
from .sparse_conv import Linear1x1, SparseConv3d, SparseInverseConv3d, SparseModule, SparseSequential, SubMConv3d
from .sparse_tensor import SparseTensor
from .unet import ResidualBlock, SparseUNet, UBlock, VoxelBatchNorm
from .voxelize import Voxels, voxelize

__all__ = [
    'Linear1x1', 'ResidualBlock', 'SparseConv3d', 'SparseInverseConv3d', 'SparseModule', 'SparseSequential',
    'SparseTensor', 'SparseUNet', 'SubMConv3d', 'UBlock', 'VoxelBatchNorm', 'Voxels', 'ball_query',
    'ball_query_padded', 'connected_components', 'furthest_point_sample', 'gather_points', 'group_points',
    'segment_max', 'segment_mean', 'segment_min', 'segment_sum', 'three_interpolate', 'three_nn', 'voxelize']
