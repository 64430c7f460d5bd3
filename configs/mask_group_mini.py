# A narrow MaskGroup on drawn rooms, for one CPU core and some 15 minutes. It shows that everything works; its AP says
# nothing about ScanNet.
_base_ = [
    '_base_/models/mask_group.py', '_base_/datasets/mini_indoor.py', '_base_/schedules/grouping_384e.py'
]
custom_imports = dict(imports=['projects.runtime', 'projects.point_grouping'], allow_failed_imports=False)

# ---- what you change first
max_epochs = 60
lr = 4e-3

# ---- what you change sometimes
width = 16
model = dict(
    data_preprocessor=dict(min_shape=32),
    backbone=dict(widths=[width * level for level in range(1, 5)], blocks=1),
    # points lie 5 cm apart, so votes of one object do not come as close as on ScanNet
    grouping=dict(radii=(0.06, 0.15, 0.3), min_npoint=30, max_train_proposals=60),
    mask_score_head=dict(in_channels=width, blocks=1, max_scale=20),
    stages=dict(grouping=20, mask=30))

# ---- what you hardly ever change
train_cfg = dict(max_epochs=max_epochs, val_interval=20)
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=20),
    dict(type='CosineAnnealingLR', T_max=max_epochs // 2, eta_min=1e-6, by_epoch=True, begin=max_epochs // 2,
         end=max_epochs, convert_to_iter_based=True)
]
randomness = dict(seed=0)
log_processor = dict(window_size=12)  # an epoch
auto_scale_lr = dict(base_batch_size=2)
default_hooks = dict(logger=dict(interval=12), checkpoint=dict(interval=20, max_keep_ckpts=1, save_best=None))
