# RetinaNet R-101, COCO, 1x: 38.5 AP in mmdet's model zoo. A teacher.
_base_ = 'retinanet_r50.py'
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
