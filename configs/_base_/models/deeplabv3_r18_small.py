# A DeepLabv3 of a quarter's width for small images and CPU cores: ResNet-18 with 16 to 128 channels from random
# weights, output stride 8, pyramid of 64 channels, no auxiliary head.
norm_cfg = dict(type='BN', requires_grad=True)
width = 16
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True,
        pad_val=0, seg_pad_val=255),
    backbone=dict(
        type='ResNetV1c', depth=18, num_stages=4, out_indices=(0, 1, 2, 3), dilations=(1, 1, 1, 2),
        strides=(1, 2, 1, 1), stem_channels=width, base_channels=width, norm_cfg=norm_cfg, norm_eval=False,
        style='pytorch', contract_dilation=True),
    decode_head=dict(
        type='ASPPHead', in_channels=width * 8, in_index=3, channels=64, dilations=(1, 3, 6, 9), dropout_ratio=0.1,
        num_classes=11, norm_cfg=norm_cfg, align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
