# DeFeat on BCCD, RetinaNet R-34 -> R-18, both narrow: small enough to compare variants over several seeds on CPU cores
# (tools/analysis_tools/compare_runs.py; the commands are in projects/defeat/README.md).
_base_ = 'retinanet_r18_bccd.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.det_data', 'projects.defeat'],
    allow_failed_imports=False)
model = dict(
    type='DeFeatSingleStageDetector',
    teacher=dict(
        config='{{ fileDirname }}/retinanet_r34_bccd.py', checkpoint='work_dirs/retinanet_r34_bccd/epoch_16.pth',
        num_classes=3),
    defeat=dict(
        neck=dict(in_channels=32, teacher_channels=64, num_levels=3, alpha_obj=3., alpha_bg=12.),
        # half of 56, as the images are small: cells below 56 pixels on P3, below 112 on P4, larger ones on P5
        masks=dict(finest_scale=28)))
custom_hooks = [dict(type='DeFeatHook')]
