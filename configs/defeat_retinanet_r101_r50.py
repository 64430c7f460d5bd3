# DeFeat, RetinaNet R-101 -> R-50, COCO, 1x. arXiv 2103.14475: 39.7 AP; its teacher and weights are not known.
_base_ = 'retinanet_r50.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.det_data', 'projects.defeat'],
    allow_failed_imports=False)
model = dict(
    type='DeFeatSingleStageDetector',
    teacher=dict(
        config='{{ fileDirname }}/retinanet_r101.py', checkpoint='work_dirs/retinanet_r101/epoch_12.pth',
        num_classes=80),
    # inferred: the weights that the author named for COCO, neck alone
    defeat=dict(neck=dict(in_channels=256, num_levels=5, alpha_obj=4., alpha_bg=16.)))
custom_hooks = [dict(type='DeFeatHook')]
