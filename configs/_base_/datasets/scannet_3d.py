# ScanNet V2 for detection from points and ten posed frames: 1201 scans to train on, 312 to validate, 18 classes. Info
# files: mmdet3d's converter, then tools/dataset_converters/scannet_frames_to_mmdet3d.py.
data_root = '{{$MMDOWNSTREAM_DATA:data}}/scannet/'
dataset_type = 'ScanNetViewsDataset'
num_points = 50000
num_views = 10  # paper, section 4.3
image_scale = (640, 480)  # inferred: the frames' size in scannet-frames-25k is about twice this
prefixes = dict(
    pts='points', pts_instance_mask='instance_mask', pts_semantic_mask='semantic_mask', img='')

train_pipeline = [
    dict(type='LoadPointsFromFile', coord_type='DEPTH', load_dim=6, use_dim=[0, 1, 2]),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True, with_mask_3d=True, with_seg_3d=True),
    dict(type='GlobalAlignment', rotation_axis=2),
    dict(type='PointSegClassMapping'),
    dict(type='PointSample', num_points=num_points),
    dict(type='RandomFlip3D', sync_2d=False, flip_ratio_bev_horizontal=0.5, flip_ratio_bev_vertical=0.5),
    dict(type='GlobalRotScaleTrans', rot_range=[-0.087266, 0.087266], scale_ratio_range=[1.0, 1.0]),
    # behind the flip, which would flip an image as well; points are freed of their augmentation for projection
    dict(type='LoadViews', num_views=num_views, scale=image_scale, random=True),
    dict(type='Pack3DDetInputs',
         keys=['points', 'img', 'gt_bboxes_3d', 'gt_labels_3d', 'pts_semantic_mask', 'pts_instance_mask'])
]
test_pipeline = [
    dict(type='LoadPointsFromFile', coord_type='DEPTH', load_dim=6, use_dim=[0, 1, 2]),
    dict(type='LoadViews', num_views=num_views, scale=image_scale),
    dict(type='GlobalAlignment', rotation_axis=2),
    dict(type='FixedPointSample', num_points=num_points),
    dict(type='Pack3DDetInputs', keys=['points', 'img'])
]
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type, data_root=data_root, ann_file='scannet_frames_infos_train.pkl', data_prefix=prefixes,
        pipeline=train_pipeline, filter_empty_gt=False, modality=dict(use_camera=True, use_lidar=True)))
val_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type, data_root=data_root, ann_file='scannet_frames_infos_val.pkl', data_prefix=prefixes,
        pipeline=test_pipeline, test_mode=True, modality=dict(use_camera=True, use_lidar=True)))
test_dataloader = val_dataloader
val_evaluator = dict(type='BoxAP3D')
test_evaluator = val_evaluator
