# The schedule of the official TokenFusion code on NYUv2: three stages of 100 epochs with 795 // 6 iterations, each with
# a fresh optimiser, half of the rate before, and a warm-up.
_base_ = 'seg_runtime.py'
stage_iters = 13200
max_iters = 3 * stage_iters
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=660)  # five epochs
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    # norms of the encoder are not decayed; the decoder and the weights of the ensemble learn at ten times the rate
    paramwise_cfg=dict(custom_keys=dict(norm=dict(decay_mult=0.), head=dict(lr_mult=10.))))
param_scheduler = [
    dict(type='StagedPolyLR', by_epoch=False, stage_iters=stage_iters, factors=[1., 0.5, 0.25], warmup=1500,
         horizon=40000)
]
custom_hooks = [dict(type='OptimizerRestartHook', stage_iters=stage_iters, stages=3)]
auto_scale_lr = dict(enable=False, base_batch_size=6)
default_hooks = dict(checkpoint=dict(interval=660), visualization=dict(type='TokenPictureHook'))
