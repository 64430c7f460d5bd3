# Adder FCOS, backbone and neck of adder layers (B+N), convolutional head (arXiv 2112.13608).
adder = dict(type='Adder2d', grad_input='sign')  # "l1 gradients" for the layer input: +0.2 AP in table 1
model = dict(
    type='FCOS',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        # inferred: the normalisation of the AdderNet classification weights
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32),
    backbone=dict(
        type='AdderResNet',
        depth=50,
        out_indices=(1, 2, 3),
        conv_cfg=adder,
        norm_cfg=dict(type='BN', requires_grad=True),
        # statistics are never frozen: with norm_eval=True training diverges (table 1)
        norm_eval=False,
        # The paper starts from a distilled AdderNet-50 that was not released. For the released one:
        # tools/model_converters/addernet_to_mmdet.py, then init_cfg=dict(type='Pretrained', checkpoint=...)
        init_cfg=None),
    neck=dict(
        type='RPAFPN',
        in_channels=[512, 1024, 2048],
        out_channels=256,
        num_outs=5,
        conv_cfg=adder,
        norm_cfg=dict(type='BN', requires_grad=True)),  # inferred: the paper does not name the neck's normalisation
    bbox_head=dict(
        # the improved FCOS head, the only one whose baseline is near the paper's 38.4 AP (inferred)
        type='FCOSHead',
        num_classes=80,
        in_channels=256,
        stacked_convs=4,
        feat_channels=256,
        strides=[8, 16, 32, 64, 128],
        norm_on_bbox=True,
        centerness_on_reg=True,
        center_sampling=True,
        center_sample_radius=1.5,
        conv_bias=True,
        dcn_on_last_conv=False,
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)),
    test_cfg=dict(
        nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=100))
