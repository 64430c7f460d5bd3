# RetinaNet R-50 with the static inception FPN; its bank sits on C3, C4 and C5.
_base_ = [
    '_base_/models/retinanet_r50.py', '_base_/datasets/coco_detection.py', '_base_/schedules/sgd_1x.py',
    '_base_/default_runtime.py'
]
custom_imports = dict(
    imports=['projects.runtime', 'projects.det_data', 'projects.dyfpn'], allow_failed_imports=False)
model = dict(neck=dict(type='InceptionFPN'))
train_dataloader = dict(batch_size=2)
optim_wrapper = dict(optimizer=dict(lr=0.01))  # mmdet's RetinaNet, for 16 images
