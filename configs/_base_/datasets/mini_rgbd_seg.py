# Drawn rooms with depth maps, 10 of NYUv2's classes: 160 images of 128x96 to train on, 48 to validate. Made by
# tools/dataset_converters/make_mini_rgbd.py.
data_root = '{{$MMDOWNSTREAM_DATA:data}}/mini/rgbd/nyu/'
dataset_type = 'RGBDSegDataset'
metainfo = dict(classes=('wall', 'floor', 'bed', 'chair', 'table', 'window', 'bookshelf', 'picture', 'dresser',
                         'floor mat'))
crop_size = (96, 128)  # height, width

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadDepthFromFile', depth_scale=5000),
    dict(type='LoadAnnotations'),
    dict(type='RandomRGBDScale', ratio_range=(1.0, 1.5), min_side=96),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='PackRGBDInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadDepthFromFile', depth_scale=5000),
    dict(type='LoadAnnotations'),
    dict(type='PackRGBDInputs')
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadDepthFromFile', depth_scale=5000),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale_factor=ratio, keep_ratio=True) for ratio in (1.0, 1.25, 1.5)],
            [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0., 1.)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackRGBDInputs')]
        ])
]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,  # reading such small images takes less time than sharing the cores with a worker
    persistent_workers=False,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type, data_root=data_root, ann_file='train.txt', metainfo=metainfo, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, ann_file='val.txt', metainfo=metainfo, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
