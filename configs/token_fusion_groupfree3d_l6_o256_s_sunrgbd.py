# The same with YOLOS-S.
_base_ = 'token_fusion_groupfree3d_l6_o256_ti_sunrgbd.py'

# ---- what you hardly ever change
image_channels = 384
model = dict(
    image_branch=dict(embed_dims=image_channels, num_heads=6, table_size=(512, 864), mid_positions=True),
    image_head=dict(embed_dims=image_channels))
