# Faster R-CNN R-50 on PASCAL VOC 07+12: the student of DeFeat alone, with its recipe (official code of arXiv
# 2103.14475, README: 80.66 mAP with SyncBN, 80.97 at lr 0.02). 2 GPUs with 8 images each; else add --auto-scale-lr.
_base_ = [
    '_base_/models/faster_rcnn_r50.py', '_base_/datasets/voc0712_detection.py', '_base_/schedules/sgd_1x.py',
    '_base_/default_runtime.py'
]
custom_imports = dict(
    imports=['projects.runtime', 'projects.det_data'], allow_failed_imports=False)
model = dict(roi_head=dict(bbox_head=dict(num_classes=20)))

train_dataloader = dict(
    batch_size=8,
    dataset=dict(_delete_=True, type='RepeatDataset', times=3, dataset={{_base_.train_dataloader.dataset}}))
train_cfg = dict(max_epochs=4)  # of the set three times over
optim_wrapper = dict(optimizer=dict(lr=0.01), clip_grad=dict(_delete_=True, max_norm=35, norm_type=2))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=200),
    dict(type='MultiStepLR', begin=0, end=4, by_epoch=True, milestones=[3], gamma=0.1)
]
