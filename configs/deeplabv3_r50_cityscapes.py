# DeepLabv3 R-50 on Cityscapes, 4 GPUs x 2 images; mmseg publishes 79.09 mIoU for this recipe.
_base_ = [
    '_base_/models/deeplabv3_r50.py', '_base_/datasets/cityscapes.py', '_base_/schedules/seg_40k.py',
    '_base_/schedules/seg_runtime.py'
]
custom_imports = dict(imports=['projects.runtime'], allow_failed_imports=False)
model = dict(
    data_preprocessor=dict(size=(512, 1024)),
    decode_head=dict(num_classes=19),
    auxiliary_head=dict(num_classes=19))
