# A narrow TokenFusion for small images and CPU cores, from random weights: 0.9 M parameters.
model = dict(
    type='TokenFusionSegmentor',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53, 0.], std=[58.395, 57.12, 57.375, 1.],
        pad_val=0, seg_pad_val=255),
    backbone=dict(
        type='TokenFusionMiT',
        arch=dict(embed_dims=(32, 64, 128, 128), num_heads=(1, 2, 4, 4), depths=(1, 1, 2, 1), sr_ratios=(4, 2, 1, 1)),
        mlp_ratio=2,
        modalities=dict(rgb=3, depth=1), fusion='exchange', drop_path_rate=0.),
    decode_head=dict(type='TokenFusionHead', channels=48, dropout_ratio=0., num_classes=10, norm_cfg=dict(type='BN')),
    token_loss=dict(weight=1e-6, reduction='sum'),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
