# Drawn rooms in ScanNet's layout, 24 to train on and 8 to test, of some 15,000 points 5 to 8 cm apart:
#   python tools/dataset_converters/make_mini_indoor.py --out data/mini_indoor
#   python tools/dataset_converters/scannet_to_mmdet3d.py data/mini_indoor
_base_ = 'scannet_grouping.py'
data_root = '{{$MMDOWNSTREAM_DATA:data}}/mini_indoor/'
voxel_size = 0.05  # metres

train_pipeline = [
    dict(type='LoadGroupingScene'),
    dict(type='NormalizeScene'),
    dict(type='RandomLinearMap', jitter=0.05),
    dict(type='ColorShift'),
    dict(type='ToVoxelGrid', voxel_size=voxel_size),
    dict(type='PackGroupingInputs')
]
test_pipeline = [
    dict(type='LoadGroupingScene'),
    dict(type='NormalizeScene'),
    dict(type='ToVoxelGrid', voxel_size=voxel_size),
    dict(type='PackGroupingInputs')
]
# reading such small files takes less time than sharing the cores with a worker
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
