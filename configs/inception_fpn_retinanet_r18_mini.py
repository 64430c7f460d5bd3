# A small RetinaNet with the static inception FPN (structure B) on the procedural mini set
# (tools/dataset_converters/make_mini_detection.py). It shows that everything works; its AP says nothing about COCO.
_base_ = [
    '_base_/models/retinanet_r18_small.py', '_base_/datasets/coco_detection.py', '_base_/schedules/sgd_1x.py',
    '_base_/default_runtime.py'
]
custom_imports = dict(
    imports=['projects.runtime', 'projects.det_data', 'projects.dyfpn'], allow_failed_imports=False)

# ---- what you change first
data_root = '{{$MMDOWNSTREAM_DATA:data}}/mini/coco/'
classes = ('disc', 'square', 'triangle', 'star', 'ring')
max_epochs = 12
batch_size = 4
lr = 1e-3

# ---- what you change sometimes
scale = (192, 160)  # the images' own size
model = dict(
    # the skip layer makes it what DyFPN computes with all gates open
    neck=dict(type='InceptionFPN', with_skip=True),
    bbox_head=dict(num_classes=len(classes)))

# ---- what you hardly ever change
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
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=lr, weight_decay=0.05), clip_grad=dict(_delete_=True, max_norm=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min=0., by_epoch=True, begin=0, end=max_epochs,
         convert_to_iter_based=True)
]
randomness = dict(seed=0)
auto_scale_lr = dict(base_batch_size=batch_size)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(max_keep_ckpts=1))
