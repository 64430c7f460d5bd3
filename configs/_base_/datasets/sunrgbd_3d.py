# SUN RGB-D for detection from points and images: 5285 samples to train on, 5050 to validate, 10 classes. Files as
# mmdet3d's converter writes them, see data/README.md.
data_root = '{{$MMDOWNSTREAM_DATA:data}}/sunrgbd/'
dataset_type = 'SUNRGBDImageDataset'
num_points = 20000
image_scale = (730, 530)  # official code

train_pipeline = [
    dict(type='LoadPointsFromFile', coord_type='DEPTH', load_dim=6, use_dim=[0, 1, 2]),
    dict(type='LoadAnnotations3D', with_bbox=True, with_label=True, with_bbox_3d=True, with_label_3d=True),
    dict(type='RandomFlip3D', sync_2d=False, flip_ratio_bev_horizontal=0.5),
    dict(type='GlobalRotScaleTrans', rot_range=[-0.523599, 0.523599], scale_ratio_range=[0.85, 1.15]),
    dict(type='PointSample', num_points=num_points),
    # behind the flip, which would flip an image as well; points are freed of their augmentation for projection
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_scale, keep_ratio=False),
    dict(type='Pack3DDetInputs',
         keys=['points', 'img', 'gt_bboxes', 'gt_bboxes_labels', 'gt_bboxes_3d', 'gt_labels_3d'])
]
test_pipeline = [
    dict(type='LoadPointsFromFile', coord_type='DEPTH', load_dim=6, use_dim=[0, 1, 2]),
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_scale, keep_ratio=False),
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
        type=dataset_type, data_root=data_root, ann_file='sunrgbd_infos_train.pkl', pipeline=train_pipeline,
        filter_empty_gt=False))  # the official code trains on samples without objects as well
val_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type, data_root=data_root, ann_file='sunrgbd_infos_val.pkl', pipeline=test_pipeline,
        test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(type='BoxAP3D')
test_evaluator = val_evaluator
