# A small EDSR x2 for two CPU cores and a minute: drawn textures (tools/dataset_converters/make_mini_restoration.py). It
# shows that everything works; its PSNR says nothing about photographs.
_base_ = ['_base_/models/edsr_baseline.py', '_base_/datasets/mini_sr_x2.py', '_base_/restoration_runtime.py']
custom_imports = dict(imports=['projects.runtime', 'projects.restoration'], allow_failed_imports=False)
model = dict(generator=dict(mid_channels=24, num_blocks=4, upscale_factor=2))

max_iters = 400
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=200)
val_cfg = dict(type='MultiValLoop')
test_cfg = dict(type='MultiTestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=max_iters, eta_min=1e-5, by_epoch=False)]
auto_scale_lr = dict(enable=False, base_batch_size=16)
randomness = dict(seed=0)
default_hooks = dict(
    logger=dict(interval=50), checkpoint=dict(interval=200, max_keep_ckpts=1, save_best='Stripes/PSNR'))
