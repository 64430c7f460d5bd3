# 12 epochs, SGD, 32 images a step on 8 GPUs, cosine decay, no gradient clipping (arXiv 2112.13608, section 5).
max_epochs = 12
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    # keeps adder filters out of clip_grad, and their adaptive factor right under AMP and accumulation
    constructor='AdderOptimWrapperConstructor',
    type='OptimWrapper',
    # "larger learning rate", not given. Inferred: mmdet's 0.01 for 16 images, scaled to 32
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(bias_lr_mult=2., bias_decay_mult=0.),
    clip_grad=None)
param_scheduler = [
    # inferred: mmdet's warm-up for FCOS
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min=0., by_epoch=True, begin=0, end=max_epochs,
         convert_to_iter_based=True)
]
auto_scale_lr = dict(enable=False, base_batch_size=32)
