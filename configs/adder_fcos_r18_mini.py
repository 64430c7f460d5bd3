# Adder FCOS for two CPU cores: the procedural mini set (tools/dataset_converters/make_mini_detection.py), a narrow
# R-18, from random weights. It exists to show that everything works; its AP says nothing about COCO.
_base_ = 'adder_fcos_r50.py'

# ---- what you change first
data_root = '{{$MMDOWNSTREAM_DATA:data}}/mini/coco/'
classes = ('disc', 'square', 'triangle', 'star', 'ring')
max_epochs = 17
batch_size = 4  # many small steps: the set is small and the minutes are few
lr = 0.05

# ---- what you change sometimes
width = 24  # of the backbone's first stage
channels = 48  # of the neck and the head
model = dict(
    backbone=dict(depth=18, base_channels=width, stem_channels=width),
    neck=dict(in_channels=[width * 2, width * 4, width * 8], out_channels=channels, num_outs=3),
    bbox_head=dict(
        num_classes=len(classes),
        in_channels=channels,
        feat_channels=channels,
        stacked_convs=2,
        strides=[8, 16, 32],
        regress_ranges=((-1, 48), (48, 96), (96, 100000000)),
        norm_cfg=dict(type='GN', num_groups=8, requires_grad=True)))

# ---- what you hardly ever change
scale = (192, 160)  # the images' own size
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
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
]
dataset = dict(data_root=data_root, metainfo=dict(classes=classes))
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=0,  # reading such small images takes less time than sharing the cores with a worker
    persistent_workers=False,
    dataset=dict(pipeline=train_pipeline, filter_cfg=dict(min_size=0), **dataset))
val_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline, **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=max_epochs, val_interval=6)
# such a large rate needs clipping; the constructor leaves the adder filters out of it
optim_wrapper = dict(optimizer=dict(lr=lr), clip_grad=dict(_delete_=True, max_norm=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min=0., by_epoch=True, begin=0, end=max_epochs,
         convert_to_iter_based=True)
]
randomness = dict(seed=0)  # the demo's figure is meant to be met again
auto_scale_lr = dict(base_batch_size=batch_size)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(max_keep_ckpts=1))
