# What every restoration run of the suite shares; it needs neither mmdet nor mmseg. `custom_imports` stands in the
# experiment files, because a list in a child config replaces the one here.
default_scope = 'mmengine'
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=100, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # a run killed at any moment leaves a checkpoint that loads; the best one by PSNR is kept beside the last three.
    # mmengine does not know that PSNR should be large, hence the rule
    checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=5000, max_keep_ckpts=3,
                    save_best='Set5/PSNR', rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='RestorationVisualizationHook'))
env_cfg = dict(
    cudnn_benchmark=True,  # patches have one size
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='RestorationVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(type='LogProcessor', window_size=100, by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
