# MaskGroup on ScanNet V2, 16 channels at the finest level.
_base_ = [
    '_base_/models/mask_group.py', '_base_/datasets/scannet_grouping.py', '_base_/schedules/grouping_384e.py'
]
custom_imports = dict(imports=['projects.runtime', 'projects.point_grouping'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(save_best='scannet/AP50'))
