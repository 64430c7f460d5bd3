# 600,000 steps of Adam, halved every 400,000, gradients clipped at norm 10, for a batch of 64 (public code of
# arXiv 1803.08664).
max_iters = 600_000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=5000)
val_cfg = dict(type='MultiValLoop')
test_cfg = dict(type='MultiTestLoop')

optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4), clip_grad=dict(max_norm=10))
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[400_000], gamma=0.5)]
auto_scale_lr = dict(enable=False, base_batch_size=64)
