# DeFeat, GFL R-101 -> R-50, COCO, 1x. Not in the paper; weights as for the others on COCO.
_base_ = 'gfl_r50.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.det_data', 'projects.defeat'],
    allow_failed_imports=False)
model = dict(
    type='DeFeatSingleStageDetector',
    teacher=dict(
        config='{{ fileDirname }}/gfl_r101.py', checkpoint='work_dirs/gfl_r101/epoch_12.pth', num_classes=80),
    defeat=dict(neck=dict(in_channels=256, num_levels=5, alpha_obj=4., alpha_bg=16.)))
custom_hooks = [dict(type='DeFeatHook')]
