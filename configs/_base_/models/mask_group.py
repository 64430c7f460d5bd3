# MaskGroup with a sparse U-Net of seven levels, m = 16 channels at the first (PointGroup's width; the paper's is not
# known), for voxels of 2 cm. Everything below the backbone is inferred from the method's ancestors, see
# projects/point_grouping/README.md.
width = 16
model = dict(
    type='MaskGroup',
    data_preprocessor=dict(type='GroupingDataPreprocessor'),
    backbone=dict(type='GroupingUNet', in_channels=6, widths=[width * level for level in range(1, 8)]),
    point_head=dict(type='PointHead', num_classes=20, in_channels=width),
    grouping=dict(
        type='HierarchicalPointGrouping',
        radii=(0.03, 0.1, 0.3),  # metres
        min_npoint=50,  # PointGroup
        stuff_classes=(0, 1),
        max_train_proposals=200),  # HAIS, SoftGroup
    mask_score_head=dict(type='MaskScoreHead', in_channels=width, grid=20, max_scale=50),
    # PointGroup groups from a third of its schedule on; HAIS filters by masks from two fifths on
    stages=dict(grouping=128, mask=192, by_epoch=True),
    test_cfg=dict(score_thr=0.09, min_points=100, nms_thr=0.3, mask_thr_logit=-0.5))
