# Search on DeepLabv3 R-101.
_base_ = 'mtp_deeplabv3_r50_cityscapes.py'
model = dict(
    architecture=dict(pretrained='open-mmlab://resnet101_v1c', backbone=dict(depth=101)),
    classifier=dict(init_cfg=dict(checkpoint='open-mmlab://resnet101_v1c')))
load_from = 'work_dirs/deeplabv3_r101_cityscapes/iter_40000.pth'
