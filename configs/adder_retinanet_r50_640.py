# Adder RetinaNet-MS-640 R-50 (B+N): 640x640, multi-scale, 50 epochs; 35.6 AP in arXiv 2112.13608, table 5.
# The convolutional recipe is mmdet's nas_fpn/retinanet_r50_fpn_crop640-50e_coco.py (37.9 AP there and in the paper).
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py', '_base_/datasets/coco_detection.py', '_base_/schedules/adder_1x.py',
    '_base_/default_runtime.py'
]
custom_imports = dict(
    imports=['projects.runtime', 'projects.det_data', 'projects.adder_fcos'], allow_failed_imports=False)

adder = dict(type='Adder2d', grad_input='sign')
norm = dict(type='BN', requires_grad=True)
model = dict(
    data_preprocessor=dict(pad_size_divisor=64, batch_augments=[dict(type='BatchFixedSizePad', size=(640, 640))]),
    backbone=dict(
        _delete_=True,
        type='AdderResNet',
        depth=50,
        out_indices=(0, 1, 2, 3),
        conv_cfg=adder,
        norm_cfg=norm,
        norm_eval=False,
        init_cfg=None),
    neck=dict(relu_before_extra_convs=True, conv_cfg=adder, norm_cfg=norm),
    bbox_head=dict(type='AdderRetinaSepBNHead', num_ins=5, norm_cfg=norm),
    train_cfg=dict(assigner=dict(neg_iou_thr=0.5)))

train_pipeline = [
    dict(type='LoadCheckedImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=(640, 640), ratio_range=(0.8, 1.2), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(640, 640)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')
]
test_pipeline = [
    dict(type='LoadCheckedImage'),
    dict(type='Resize', scale=(640, 640), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
]
train_dataloader = dict(batch_size=8, num_workers=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

max_epochs = 50
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=1000),
    dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min=0., by_epoch=True, begin=0, end=max_epochs,
         convert_to_iter_based=True)
]
# inferred: the convolutional recipe's 0.08 for 64 images; the towers of the head are listed once for each level
optim_wrapper = dict(
    optimizer=dict(lr=0.08), paramwise_cfg=dict(_delete_=True, norm_decay_mult=0., bypass_duplicate=True))
auto_scale_lr = dict(base_batch_size=64)
