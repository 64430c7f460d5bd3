# DeepLabv3 R-101; mmseg publishes 77.12 mIoU for this recipe.
_base_ = 'deeplabv3_r50_cityscapes.py'
model = dict(pretrained='open-mmlab://resnet101_v1c', backbone=dict(depth=101))
