# DeepLabv3 R-50 on VOC 2012 aug, 4 GPUs x 4 images; mmseg publishes 76.17 mIoU for this recipe.
_base_ = [
    '_base_/models/deeplabv3_r50.py', '_base_/datasets/voc2012_aug.py', '_base_/schedules/seg_20k.py',
    '_base_/schedules/seg_runtime.py'
]
custom_imports = dict(imports=['projects.runtime'], allow_failed_imports=False)
model = dict(
    data_preprocessor=dict(size=(512, 512)),
    decode_head=dict(num_classes=21),
    auxiliary_head=dict(num_classes=21))
