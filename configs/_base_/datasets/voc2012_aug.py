# PASCAL VOC 2012 with the additional masks of SBD: 10,582 images to train on, 1,449 to validate, 21 classes. The masks
# of SBD are in SegmentationClassAug, as `tools/dataset_converters/voc_aug.py` of mmseg writes them.
data_root = '{{$MMDOWNSTREAM_DATA:data}}/VOCdevkit/VOC2012/'
dataset_type = 'PascalVOCDataset'
scale = (2048, 512)
crop_size = (512, 512)  # height, width

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=scale, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations'),  # behind Resize: measured at the labels' full size
    dict(type='PackSegInputs')
]
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(
                type=dataset_type, data_root=data_root, ann_file=f'ImageSets/Segmentation/{split}.txt',
                data_prefix=dict(img_path='JPEGImages', seg_map_path=masks), pipeline=train_pipeline)
            for split, masks in (('train', 'SegmentationClass'), ('aug', 'SegmentationClassAug'))
        ]))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type, data_root=data_root, ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'), pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
