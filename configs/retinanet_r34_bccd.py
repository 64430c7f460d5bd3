# RetinaNet R-34, narrow, on BCCD, from random weights, for CPU cores: the teacher of defeat_retinanet_r34_r18_bccd.
_base_ = 'retinanet_r18_bccd.py'
max_epochs = 16
width = 24
channels = 64
model = dict(
    backbone=dict(depth=34, base_channels=width, stem_channels=width),
    neck=dict(in_channels=[width, width * 2, width * 4, width * 8], out_channels=channels),
    bbox_head=dict(in_channels=channels, feat_channels=channels))
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min=0., by_epoch=True, begin=0, end=max_epochs,
         convert_to_iter_based=True)
]
