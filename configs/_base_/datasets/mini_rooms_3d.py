# Drawn rooms in SUN RGB-D's layout, 160 to train on and 48 to validate:
#   python tools/dataset_converters/make_mini_rgbd.py
_base_ = 'sunrgbd_3d.py'
data_root = '{{$MMDOWNSTREAM_DATA:data}}/mini/rgbd/sunrgbd/'
num_points = 1024
image_scale = (128, 96)

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
# reading such small files takes less time than sharing the cores with a worker
train_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
