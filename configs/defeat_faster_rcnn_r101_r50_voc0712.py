# DeFeat, Faster R-CNN R-101 -> R-50 on PASCAL VOC 07+12, the released setting (official code of arXiv 2103.14475):
# neck imitation with weights 3 and 12, no head term. Most likely the row of 82.04 mAP in its README (inferred).
_base_ = 'faster_rcnn_r50_voc0712.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.det_data', 'projects.defeat'],
    allow_failed_imports=False)
model = dict(
    type='DeFeatTwoStageDetector',
    teacher=dict(
        config='{{ fileDirname }}/faster_rcnn_r101_voc0712.py',
        checkpoint='work_dirs/faster_rcnn_r101_voc0712/epoch_4.pth',  # the last epoch
        num_classes=20),
    defeat=dict(neck=dict(in_channels=256, num_levels=5, alpha_obj=3., alpha_bg=12.)))
custom_hooks = [dict(type='DeFeatHook')]
