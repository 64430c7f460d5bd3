# DeepLabv3 R-101; mmseg publishes 78.70 mIoU for this recipe.
_base_ = 'deeplabv3_r50_voc2012_aug.py'
model = dict(pretrained='open-mmlab://resnet101_v1c', backbone=dict(depth=101))
