# The same with TokenFusion (arXiv 2204.08721): YOLOS-Ti (arXiv 2106.00666) on the image, its 2D head, and the exchange.
_base_ = 'groupfree3d_l6_o256.py'
image_channels = 192
model = dict(
    fusion_mode='exchange',
    image_loss_epochs=120,
    data_preprocessor=dict(
        # the official code applies these to BGR by mistake
        bgr_to_rgb=True, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    image_branch=dict(
        type='DetectionViT', embed_dims=image_channels, depth=12, num_heads=3, drop_path_rate=0.3,
        table_size=(800, 1333)),
    image_head=dict(type='DetectionTokenHead', num_classes=10, embed_dims=image_channels),
    exchange=dict(type='PointImageExchange'))
