# MaskGroup on S3DIS: trained on areas 1, 2, 3, 4 and 6, tested on area 5.
#
# The 6-fold protocol: each area is held out once, and the mean over the six is reported. Area $A:
#   A=1; O=$(for a in 1 2 3 4 5 6; do [ $a = $A ] || printf s3dis_infos_Area_$a.pkl,; done)
#   python tools/train.py configs/mask_group_m16_s3dis_area5.py --work-dir work_dirs/mask_group_s3dis_area$A \
#     --cfg-options "train_dataloader.dataset.dataset.ann_files=[${O%,}]" \
#     "val_dataloader.dataset.ann_files=[s3dis_infos_Area_$A.pkl]" \
#     "test_dataloader.dataset.ann_files=[s3dis_infos_Area_$A.pkl]"
_base_ = [
    '_base_/models/mask_group.py', '_base_/datasets/s3dis_grouping.py', '_base_/schedules/grouping_384e.py'
]
custom_imports = dict(imports=['projects.runtime', 'projects.point_grouping'], allow_failed_imports=False)
model = dict(
    point_head=dict(num_classes=13),
    # ceiling and floor are not grouped: each is one instance (SoftGroup)
    grouping=dict(stuff_classes=(0, 1)),
    stages=dict(grouping=6, mask=10),  # ScanNet's shares of the schedule
    test_cfg=dict(stuff_as_instances=True))

# SoftGroup's length; like its authors, begin with the weights of ScanNet: --cfg-options load_from=CHECKPOINT
max_epochs = 20
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
param_scheduler = [
    dict(type='CosineAnnealingLR', T_max=max_epochs // 2, eta_min=1e-6, by_epoch=True, begin=max_epochs // 2,
         end=max_epochs, convert_to_iter_based=True)
]
default_hooks = dict(checkpoint=dict(interval=2, save_best='s3dis/AP50'))
