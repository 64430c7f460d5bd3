# What every run of 3D detection from points and images shares. `custom_imports` stands in the experiment files, because
# a list in a child config replaces the one here.
default_scope = 'mmdet3d'
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # a run killed at any moment leaves a checkpoint that loads
    checkpoint=dict(type='AtomicCheckpointHook', interval=25, max_keep_ckpts=3, save_best='mAP_0.50', rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='ProjectionPictureHook'))
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
# once the 2D losses have ended, the image branch has no gradient
find_unused_parameters = True
