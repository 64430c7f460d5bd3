# Faster R-CNN R-152, COCO, 1x: the teacher of the third-party recipe for DeFeat (42.3 AP there, multi-scale).
_base_ = 'faster_rcnn_r50.py'
model = dict(backbone=dict(depth=152, init_cfg=dict(checkpoint='torchvision://resnet152')))
