# S3DIS for grouping: trained on areas 1, 2, 3, 4 and 6, tested on area 5. Files:
# tools/dataset_converters/s3dis_to_mmdet3d.py
data_root = '{{$MMDOWNSTREAM_DATA:data}}/s3dis/'
dataset_type = 'S3DISGroupingDataset'
voxel_size = 0.02  # metres
train_files = [f's3dis_infos_Area_{area}.pkl' for area in (1, 2, 3, 4, 6)]
test_files = ['s3dis_infos_Area_5.pkl']

train_pipeline = [
    dict(type='LoadGroupingScene'),
    dict(type='SubsamplePoints', ratio=0.25),  # SoftGroup
    dict(type='NormalizeScene'),
    dict(type='RandomLinearMap'),
    dict(type='ColorShift'),
    dict(type='ToVoxelGrid', voxel_size=voxel_size),
    dict(type='ElasticDistortion'),
    dict(type='RandomVoxelCrop', max_points=250_000, step=64),
    dict(type='PackGroupingInputs')
]
test_pipeline = [
    dict(type='LoadGroupingScene'),
    dict(type='NormalizeScene'),
    dict(type='ToVoxelGrid', voxel_size=voxel_size),
    dict(type='InterleavedParts', num_parts=4),  # the density of training, four times
    dict(type='PackGroupingInputs')
]
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    # an area has few rooms: 20 rounds make an epoch, as in SoftGroup
    dataset=dict(
        type='RepeatDataset',
        times=20,
        dataset=dict(type=dataset_type, data_root=data_root, ann_files=train_files, pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type, data_root=data_root, ann_files=test_files, pipeline=test_pipeline, test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(type='S3DISInstanceMetric')
test_evaluator = val_evaluator
