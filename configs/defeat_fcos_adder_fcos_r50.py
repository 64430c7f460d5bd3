# DeFeat from a convolutional FCOS to Adder FCOS (B+N), COCO, 1x: two methods composed by config, in no paper.
_base_ = 'adder_fcos_r50.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.det_data', 'projects.adder_fcos', 'projects.defeat'],
    allow_failed_imports=False)
model = dict(
    type='DeFeatSingleStageDetector',
    teacher=dict(config='{{ fileDirname }}/fcos_r50.py', checkpoint='work_dirs/fcos_r50/epoch_12.pth', num_classes=80),
    defeat=dict(neck=dict(in_channels=256, num_levels=5, alpha_obj=4., alpha_bg=16.)))
custom_hooks = [dict(type='DeFeatHook')]
