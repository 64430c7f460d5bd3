# A small RetinaNet with the static inception FPN (structure B) on BCCD, blood cells, from random weights, for two CPU
# cores.
_base_ = [
    '_base_/models/retinanet_r18_small.py', '_base_/datasets/bccd_detection.py', '_base_/schedules/sgd_1x.py',
    '_base_/default_runtime.py'
]
custom_imports = dict(
    imports=['projects.runtime', 'projects.det_data', 'projects.dyfpn'], allow_failed_imports=False)

# ---- what you change first
max_epochs = 30  # with 10, sampled gates still cost two to three points of AP
lr = 1e-3

# ---- what you change sometimes
model = dict(
    # the skip layer makes it what DyFPN computes with all gates open
    neck=dict(type='InceptionFPN', with_skip=True),
    bbox_head=dict(
        num_classes=3,
        # square anchors of 16 to 102 pixels: cells are round, and mostly 12 to 100 pixels wide
        anchor_generator=dict(octave_base_scale=2, ratios=[1.0])))

# ---- what you hardly ever change
train_cfg = dict(max_epochs=max_epochs, val_interval=10)
# AdamW learns more than SGD in a few hundred steps from random weights
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=lr, weight_decay=0.05), clip_grad=dict(_delete_=True, max_norm=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min=0., by_epoch=True, begin=0, end=max_epochs,
         convert_to_iter_based=True)
]
randomness = dict(seed=0)
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(max_keep_ckpts=1))
