# TokenFusion (Ti: 10 encoder layers), shade and texture to RGB.
_base_ = './token_fusion_gen_b2_shade_texture_to_rgb.py'
model = dict(generator=dict(arch='b1'))
