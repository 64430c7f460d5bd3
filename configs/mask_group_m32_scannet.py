# mask_group_m16_scannet.py of twice the width, that of HAIS and SoftGroup.
_base_ = 'mask_group_m16_scannet.py'
width = 32
model = dict(
    backbone=dict(widths=[width * level for level in range(1, 8)]),
    point_head=dict(in_channels=width),
    mask_score_head=dict(in_channels=width))
