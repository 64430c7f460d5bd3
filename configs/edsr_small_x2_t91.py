# A small EDSR x2 that two CPU cores train on real photographs in a quarter of an hour: T91, tested on Set5, Set14 and
# BSD100 in one run. Where ablations of restoration methods are compared, they share this recipe.
_base_ = ['_base_/models/edsr_baseline.py', '_base_/datasets/t91_x2.py', '_base_/restoration_runtime.py']
custom_imports = dict(imports=['projects.runtime', 'projects.restoration'], allow_failed_imports=False)

# ---- what you change first
max_iters = 3000
lr = 1e-3  # ten times EDSR's: the network is small and the minutes are few

# ---- what you change sometimes
model = dict(generator=dict(mid_channels=32, num_blocks=6, upscale_factor=2))

# ---- what you hardly ever change
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=1000)
val_cfg = dict(type='MultiValLoop')
test_cfg = dict(type='MultiTestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=lr))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=max_iters, eta_min=1e-5, by_epoch=False)]
auto_scale_lr = dict(enable=False, base_batch_size=16)
randomness = dict(seed=0)
default_hooks = dict(logger=dict(interval=200), checkpoint=dict(interval=1000, max_keep_ckpts=1))
