# A narrow TokenFusion on drawn rooms of 128x96, from random weights, for one CPU core. The baselines are options of it,
# see projects/token_fusion/README.md.
_base_ = [
    '_base_/models/token_fusion_small.py', '_base_/datasets/mini_rgbd_seg.py',
    '_base_/schedules/token_fusion_3x100e.py'
]
custom_imports = dict(imports=['projects.runtime', 'projects.token_fusion.segmentation'], allow_failed_imports=False)

# ---- what you change first
max_iters = 800
lr = 2e-3

# ---- what you change sometimes
model = dict(
    data_preprocessor=dict(size=(96, 128)),
    # nothing is pretrained: attention is worth little at first, and scores that fall too low then stay there
    backbone=dict(keep_bias=2.),
    # one over the root of each class's share of the training pixels: in the ensemble, a mean of logits, a branch
    # that cannot tell a class answers with its frequency and outvotes the one that can; baselines have the same
    decode_head=dict(loss_decode=dict(type='CrossEntropyLoss', class_weight=[
        0.53, 0.9, 1.18, 1.91, 1.65, 1.55, 1.86, 2.34, 1.77, 2.0])),
    token_loss=dict(weight=2e-6, reduction='sum'))

# ---- what you hardly ever change
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(
    optimizer=dict(lr=lr),
    paramwise_cfg=dict(custom_keys=dict(norm=dict(decay_mult=0.), head=dict(lr_mult=1.))))  # nothing is pretrained
param_scheduler = [
    dict(type='StagedPolyLR', by_epoch=False, stage_iters=max_iters, factors=[1.], warmup=50, horizon=max_iters)
]
custom_hooks = []
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(logger=dict(interval=50), checkpoint=dict(interval=max_iters, max_keep_ckpts=1, save_best=None))
