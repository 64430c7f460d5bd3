# TokenFusion (arXiv 2204.08721) with SegFormer's MiT-B2 for RGB-D segmentation, 40 classes. The encoder begins with
# ImageNet weights for both modalities; official files (mit_b2.pth) work as well as mmseg's. The crop size, to which
# batches are padded, comes with the data set.
checkpoint = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b2_20220624-66e8bf70.pth'
model = dict(
    type='TokenFusionSegmentor',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53, 0.],  # RGB and depth, which stays in metres as in the official code
        std=[58.395, 57.12, 57.375, 1.],
        pad_val=0, seg_pad_val=255),
    backbone=dict(
        type='TokenFusionMiT', arch='b2', modalities=dict(rgb=3, depth=1), fusion='exchange', drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    decode_head=dict(
        type='TokenFusionHead', channels=256, dropout_ratio=0.1, num_classes=40, norm_cfg=dict(type='SyncBN'),
        predict_mode='bicubic'),  # as the official code evaluates
    token_loss=dict(weight=1e-6, reduction='sum'),  # of the official command; its config file has 1e-4, the paper 1e-3
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
