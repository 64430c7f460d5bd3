# inception_fpn_retinanet_r18_bccd.py with R-18's full width and 40 epochs, for a GPU.
_base_ = 'inception_fpn_retinanet_r18_bccd.py'

# ---- what you change first
max_epochs = 40

# ---- what you change sometimes
model = dict(
    backbone=dict(base_channels=64, stem_channels=64),
    neck=dict(in_channels=[64, 128, 256, 512]))

# ---- what you hardly ever change
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min=0., by_epoch=True, begin=0, end=max_epochs,
         convert_to_iter_based=True)
]
