# ScanNet V2 for grouping: 1201 scans to train on, 312 to validate. Files:
# tools/dataset_converters/scannet_to_mmdet3d.py
data_root = '{{$MMDOWNSTREAM_DATA:data}}/scannet/'
dataset_type = 'ScanNetGroupingDataset'
voxel_size = 0.02  # metres

train_pipeline = [
    dict(type='LoadGroupingScene'),
    dict(type='NormalizeScene'),
    dict(type='RandomLinearMap'),
    dict(type='ColorShift'),
    dict(type='ToVoxelGrid', voxel_size=voxel_size),
    dict(type='ElasticDistortion'),
    dict(type='RandomVoxelCrop', max_points=250_000),
    dict(type='PackGroupingInputs')
]
test_pipeline = [
    dict(type='LoadGroupingScene'),
    dict(type='NormalizeScene'),
    dict(type='ToVoxelGrid', voxel_size=voxel_size),
    dict(type='PackGroupingInputs')
]
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type, data_root=data_root, ann_file='scannet_infos_train.pkl', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type, data_root=data_root, ann_file='scannet_infos_val.pkl', pipeline=test_pipeline,
        test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(type='ScanNetInstanceMetric')
test_evaluator = val_evaluator
