# TokenFusion (S), depth and normals to RGB.
_base_ = './token_fusion_gen_b2_shade_texture_to_rgb.py'
inputs = ['depth_euclidean', 'normal']
target = 'rgb'
model = dict(inputs=inputs)
train_dataloader = dict(dataset=dict(inputs=inputs, target=target))
val_dataloader = dict(dataset=dict(inputs=inputs, target=target))
test_dataloader = val_dataloader
