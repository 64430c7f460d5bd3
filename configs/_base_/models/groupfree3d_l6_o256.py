# Group-Free-3D (arXiv 2104.00678), 6 decoder layers and 256 queries, with the losses that the official TokenFusion code
# has for SUN RGB-D: ten times its weights, because it multiplies their sum by 10.
_base_ = 'mmdet3d::_base_/models/groupfree3d.py'
model = dict(
    type='TokenFusionGroupFree3D',
    fusion_mode='none',
    backbone=dict(_delete_=True, type='PointNet2', in_channels=3),
    bbox_head=dict(
        type='FusedGroupFree3DHead',
        num_classes=10,
        size_cls_agnostic=True,
        bbox_coder=dict(
            type='GroupFree3DBBoxCoder',
            num_sizes=10,
            num_dir_bins=12,
            with_rot=True,
            size_cls_agnostic=True,
            # mmdet3d's; they matter to no loss while sizes do not depend on the class
            mean_sizes=[[2.114256, 1.620300, 0.927272], [0.791118, 1.279516, 0.718182],
                        [0.923508, 1.867419, 0.845495], [0.591958, 0.552978, 0.827272],
                        [0.699104, 0.454178, 0.756250], [0.695190, 1.346299, 0.736364],
                        [0.528526, 1.002642, 1.172878], [0.500618, 0.632163, 0.683424],
                        [0.404671, 1.071108, 1.688889], [0.765840, 1.398258, 0.472728]]),
        sampling_objectness_loss=dict(loss_weight=2.0),
        objectness_loss=dict(loss_weight=4.0),
        center_loss=dict(beta=1.0 / 9.0),
        # heading and size count their delta once more
        dir_res_loss=dict(beta=0.04, loss_weight=0.4),
        size_reg_loss=dict(type='mmdet.SmoothL1Loss', beta=0.0625, reduction='sum', loss_weight=0.625),
        size_class_loss=None,
        size_res_loss=None))
