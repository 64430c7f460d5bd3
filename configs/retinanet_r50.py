# RetinaNet R-50, COCO, 1x: 36.5 AP in mmdet's model zoo, the baseline quoted by arXiv 2103.14475.
# 8 GPUs with 2 images each; on other numbers add --auto-scale-lr.
_base_ = [
    '_base_/models/retinanet_r50.py', '_base_/datasets/coco_detection.py', '_base_/schedules/sgd_1x.py',
    '_base_/default_runtime.py'
]
custom_imports = dict(
    imports=['projects.runtime', 'projects.det_data'], allow_failed_imports=False)
train_dataloader = dict(batch_size=2)
optim_wrapper = dict(optimizer=dict(lr=0.01))
