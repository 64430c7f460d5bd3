# TokenFusion of Group-Free-3D (6 decoder layers, 256 queries) and YOLOS-Ti for the upright boxes of ScanNet. Losses and
# sizes are those of mmdet3d's Group-Free-3D config for this set.
_base_ = 'mmdet3d::_base_/models/groupfree3d.py'
image_channels = 192
model = dict(
    type='TokenFusionGroupFree3D',
    fusion_mode='exchange',
    image_loss_epochs=120,  # inferred: as for SUN RGB-D
    data_preprocessor=dict(
        type='Det3DDataPreprocessor', bgr_to_rgb=True, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(_delete_=True, type='PointNet2', in_channels=3),
    bbox_head=dict(
        type='FusedGroupFree3DHead',
        num_classes=18,
        size_cls_agnostic=False,
        bbox_coder=dict(
            type='GroupFree3DBBoxCoder',
            num_sizes=18,
            num_dir_bins=1,
            with_rot=False,
            size_cls_agnostic=False,
            mean_sizes=[[0.76966727, 0.8116021, 0.92573744], [1.876858, 1.8425595, 1.1931566],
                        [0.61328, 0.6148609, 0.7182701], [1.3955007, 1.5121545, 0.83443564],
                        [0.97949594, 1.0675149, 0.6329687], [0.531663, 0.5955577, 1.7500148],
                        [0.9624706, 0.72462326, 1.1481868], [0.83221924, 1.0490936, 1.6875663],
                        [0.21132214, 0.4206159, 0.5372846], [1.4440073, 1.8970833, 0.26985747],
                        [1.0294262, 1.4040797, 0.87554324], [1.3766412, 0.65521795, 1.6813129],
                        [0.6650819, 0.71111923, 1.298853], [0.41999173, 0.37906948, 1.7513971],
                        [0.59359556, 0.5912492, 0.73919016], [0.50867593, 0.50656086, 0.30136237],
                        [1.1511526, 1.0546296, 0.49706793], [0.47535285, 0.49249494, 0.5802117]]),
        sampling_objectness_loss=dict(loss_weight=8.0),
        objectness_loss=dict(loss_weight=1.0),
        center_loss=dict(beta=0.04),
        size_res_loss=dict(beta=1.0 / 9.0, loss_weight=10.0 / 9.0)),
    image_branch=dict(
        type='DetectionViT', embed_dims=image_channels, depth=12, num_heads=3, drop_path_rate=0.3,
        table_size=(800, 1333)),
    image_head=dict(type='DetectionTokenHead', num_classes=18, embed_dims=image_channels),
    exchange=dict(type='PointImageExchange'),
    test_cfg=dict(prediction_stages='last_three'))
