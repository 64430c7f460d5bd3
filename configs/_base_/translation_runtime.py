# What every image translation run shares; it needs neither mmdet nor mmseg. `custom_imports` stands in the experiment
# files, because a list in a child config replaces the one here.
default_scope = 'mmengine'
# generator and discriminator are wrapped apart where there are several processes
model_wrapper_cfg = dict(type='MMSeparateDistributedDataParallel')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=100),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # a run killed at any moment leaves a checkpoint that loads
    checkpoint=dict(type='AtomicCheckpointHook', interval=5, max_keep_ckpts=2, save_best='FID', rule='less'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='TranslationPictureHook', val_pictures=4))
env_cfg = dict(
    cudnn_benchmark=True,  # images have one size
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='Visualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(type='LogProcessor', window_size=100, by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
