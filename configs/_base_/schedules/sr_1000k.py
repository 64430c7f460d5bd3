# A million steps of Adam, halved every 200,000, for a batch of 16.
max_iters = 1_000_000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=5000)
val_cfg = dict(type='MultiValLoop')
test_cfg = dict(type='MultiTestLoop')

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4, betas=(0.9, 0.999)))
param_scheduler = [
    dict(type='MultiStepLR', by_epoch=False, milestones=[200_000, 400_000, 600_000, 800_000], gamma=0.5)
]
auto_scale_lr = dict(enable=False, base_batch_size=16)
