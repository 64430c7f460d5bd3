# RetinaNet R-18 of a quarter's width on BCCD, from random weights, for CPU cores. Three levels, P3 to P5.
_base_ = [
    '_base_/models/retinanet_r50.py', '_base_/datasets/bccd_detection.py', '_base_/schedules/sgd_1x.py',
    '_base_/default_runtime.py'
]
custom_imports = dict(
    imports=['projects.runtime', 'projects.det_data'], allow_failed_imports=False)

# ---- what you change first
max_epochs = 8
lr = 1e-3

# ---- what you change sometimes
width = 16  # of the backbone's first stage
channels = 32  # of the neck and the head
model = dict(
    backbone=dict(
        depth=18, base_channels=width, stem_channels=width, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[width, width * 2, width * 4, width * 8], out_channels=channels, num_outs=3),
    bbox_head=dict(
        num_classes=3,
        in_channels=channels,
        feat_channels=channels,
        stacked_convs=2,
        # square anchors of 16 to 102 pixels: cells are round, and mostly 12 to 100 pixels wide
        anchor_generator=dict(octave_base_scale=2, ratios=[1.0], strides=[8, 16, 32]),
        norm_cfg=dict(type='GN', num_groups=8, requires_grad=True)))

# ---- what you hardly ever change
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
# AdamW learns more than SGD in a few hundred steps from random weights
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=lr, weight_decay=0.05), clip_grad=dict(_delete_=True, max_norm=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min=0., by_epoch=True, begin=0, end=max_epochs,
         convert_to_iter_based=True)
]
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(max_keep_ckpts=1))
