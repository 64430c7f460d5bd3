# DeepLabv3 R-18 of a quarter's width on CamVid at 240x180, from random weights, for CPU cores.
_base_ = [
    '_base_/models/deeplabv3_r18_small.py', '_base_/datasets/camvid.py', '_base_/schedules/seg_20k.py',
    '_base_/schedules/seg_runtime.py'
]
custom_imports = dict(imports=['projects.runtime', 'projects.seg_data'], allow_failed_imports=False)

# ---- what you change first
max_iters = 300
lr = 2e-3

# ---- what you change sometimes
model = dict(data_preprocessor=dict(size=(180, 240)))

# ---- what you hardly ever change
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
# AdamW learns more than SGD in a few hundred steps from random weights
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=lr, weight_decay=0.01))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=30),
    dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=max_iters, by_epoch=False)
]
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=max_iters, max_keep_ckpts=1, save_best=None))
