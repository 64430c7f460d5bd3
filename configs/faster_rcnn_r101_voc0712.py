# Faster R-CNN R-101 on PASCAL VOC 07+12: DeFeat's teacher (official code of arXiv 2103.14475, README: 82.27 mAP).
_base_ = 'faster_rcnn_r50_voc0712.py'
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
optim_wrapper = dict(optimizer=dict(lr=0.02), clip_grad=None)
