# Faster R-CNN R-50 with the static inception FPN, every branch computed for every image: +1.6 AP over FPN in the first
# version of arXiv 2012.00779. Recipe of dyfpn_faster_rcnn_r50.py.
_base_ = [
    '_base_/models/faster_rcnn_r50.py', '_base_/datasets/coco_detection.py', '_base_/schedules/sgd_1x.py',
    '_base_/default_runtime.py'
]
custom_imports = dict(
    imports=['projects.runtime', 'projects.det_data', 'projects.dyfpn'], allow_failed_imports=False)
model = dict(neck=dict(type='InceptionFPN'))
train_dataloader = dict(batch_size=2)
