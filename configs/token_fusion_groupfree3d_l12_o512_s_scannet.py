# The larger model: 12 decoder layers, 512 queries, PointNet++ of twice the width, YOLOS-S. One block of the image
# branch runs before each decoder layer [inferred: the only way to share out 12 blocks].
_base_ = 'token_fusion_groupfree3d_l6_o256_ti_scannet.py'

# ---- what you hardly ever change
image_channels = 384
model = dict(
    backbone=dict(
        sa_channels=((128, 128, 256), (256, 256, 512), (256, 256, 512), (256, 256, 512)),
        fp_channels=((512, 512), (512, 288))),
    bbox_head=dict(num_decoder_layers=12, num_proposal=512),
    image_branch=dict(
        embed_dims=image_channels, num_heads=6, table_size=(512, 864), mid_positions=True),
    image_head=dict(embed_dims=image_channels))
