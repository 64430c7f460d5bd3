# 384 epochs of 4 scenes a step on one GPU, Adam at PointGroup's rate, and what every grouping run of the suite shares.
# `custom_imports` stands in the experiment files, because a list in a child config replaces the one here.
max_epochs = 384
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=16)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
param_scheduler = [
    # inferred: constant for one half as PointGroup all along, then HAIS's cosine to 1e-6
    dict(type='CosineAnnealingLR', T_max=max_epochs // 2, eta_min=1e-6, by_epoch=True, begin=max_epochs // 2,
         end=max_epochs, convert_to_iter_based=True)
]
auto_scale_lr = dict(enable=False, base_batch_size=4)
find_unused_parameters = True  # MaskScoreNet waits for its stage; a batch without groups does not reach it
randomness = dict(seed=123)  # PointGroup's

default_scope = 'mmdet3d'
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # a run killed at any moment leaves a checkpoint that loads; experiment files say by which figure the best is kept
    checkpoint=dict(type='AtomicCheckpointHook', interval=16, max_keep_ckpts=3, rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='GroupingPictureHook'))
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='Visualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
