# GFL R-101, COCO, 1x. A teacher; mmdet's model zoo trains it for 24 epochs with multi-scale (44.7 AP).
_base_ = 'gfl_r50.py'
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
