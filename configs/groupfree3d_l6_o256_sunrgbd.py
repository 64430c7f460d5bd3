# Group-Free-3D (arXiv 2104.00678), 6 decoder layers and 256 queries, on SUN RGB-D from points alone: the baseline of
# TokenFusion. mmdet3d has no config for this set.
_base_ = [
    '_base_/models/groupfree3d_l6_o256.py', '_base_/datasets/sunrgbd_3d.py', '_base_/schedules/groupfree3d_600e.py'
]
custom_imports = dict(imports=['projects.runtime', 'projects.token_fusion.detection3d'], allow_failed_imports=False)

# ---- what you change first
batch_size = 8  # for each of 4 GPUs

# ---- what you change sometimes
num_points = 20000

# ---- what you hardly ever change
train_pipeline = [
    dict(type='LoadPointsFromFile', coord_type='DEPTH', load_dim=6, use_dim=[0, 1, 2]),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='RandomFlip3D', sync_2d=False, flip_ratio_bev_horizontal=0.5),
    dict(type='GlobalRotScaleTrans', rot_range=[-0.523599, 0.523599], scale_ratio_range=[0.85, 1.15]),
    dict(type='PointSample', num_points=num_points),
    dict(type='Pack3DDetInputs', keys=['points', 'gt_bboxes_3d', 'gt_labels_3d'])
]
test_pipeline = [
    dict(type='LoadPointsFromFile', coord_type='DEPTH', load_dim=6, use_dim=[0, 1, 2]),
    dict(type='FixedPointSample', num_points=num_points),
    dict(type='Pack3DDetInputs', keys=['points'])
]
train_dataloader = dict(batch_size=batch_size, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
