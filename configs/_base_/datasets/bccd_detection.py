# BCCD: 364 microscope images of blood cells, 292 to train on and 72 to test, at 0.4 times their 640x480. Licence: MIT,
# https://github.com/Shenggan/BCCD_Dataset (its folder BCCD/), one VOC folder without years.
data_root = '{{$MMDOWNSTREAM_DATA:data}}/bccd/'
dataset_type = 'CheckedVOCDataset'
classes = ('RBC', 'WBC', 'Platelets')
scale = (256, 192)

train_pipeline = [
    dict(type='LoadCheckedImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')
]
test_pipeline = [
    dict(type='LoadCheckedImage'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),  # avoids bboxes being resized
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
]
dataset = dict(
    type=dataset_type, data_root=data_root, metainfo=dict(classes=classes),
    data_prefix=dict(sub_data_root=''))
train_dataloader = dict(
    batch_size=8,
    num_workers=0,  # reading such small images takes less time than sharing the cores with a worker
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        ann_file='ImageSets/Main/trainval.txt', filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline, **dataset))
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(ann_file='ImageSets/Main/test.txt', test_mode=True, pipeline=test_pipeline, **dataset))
test_dataloader = val_dataloader

# mean of the AP at 0.50, 0.55, ... 0.95, by the area under the curve
val_evaluator = dict(
    type='VOCMetric', metric='mAP', eval_mode='area',
    iou_thrs=[0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95])
test_evaluator = val_evaluator
