# A RetinaNet of 1.5 million parameters for small images and two CPU cores: R-18 of half the width, from random
# weights, pyramid levels of stride 8, 16 and 32 with 64 channels.
_base_ = 'retinanet_r50.py'
width = 32
channels = 64
model = dict(
    backbone=dict(
        depth=18, base_channels=width, stem_channels=width, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(
        in_channels=[width, width * 2, width * 4, width * 8], out_channels=channels, num_outs=3,
        add_extra_convs=False),
    bbox_head=dict(
        in_channels=channels,
        feat_channels=channels,
        stacked_convs=2,
        norm_cfg=dict(type='GN', num_groups=8, requires_grad=True),
        anchor_generator=dict(octave_base_scale=3, strides=[8, 16, 32])))
