# SUN RGB-D with 37 classes: 5,285 training and 5,050 test images with depth maps, in the layout of NYUv2
# (tools/dataset_converters/sunrgbd_to_rgbd.py). The official code has no recipe for it; this is NYUv2's (inferred).
data_root = '{{$MMDOWNSTREAM_DATA:data}}/sunrgbd_rgbd/'
dataset_type = 'SUNRGBDSegDataset'
crop_size = (500, 500)  # height, width

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadDepthFromFile', depth_scale=5000),  # numbers in the file to a metre
    dict(type='FitToMask', method='resize'),
    dict(type='LoadAnnotations'),
    dict(type='RandomRGBDScale', ratio_range=(0.5, 2.0), min_side=350),
    dict(type='PadRGBD', size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='PackRGBDInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadDepthFromFile', depth_scale=5000),
    dict(type='FitToMask', method='resize'),
    dict(type='LoadAnnotations'),
    dict(type='PackRGBDInputs')
]
# --tta: mmseg's scales and flips; masks are read behind them, at their own size
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadDepthFromFile', depth_scale=5000),
    dict(type='FitToMask', method='resize'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale_factor=ratio, keep_ratio=True) for ratio in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)],
            [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0., 1.)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackRGBDInputs')]
        ])
]
train_dataloader = dict(
    batch_size=6,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type=dataset_type, data_root=data_root, ann_file='train.txt', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, ann_file='val.txt', pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
