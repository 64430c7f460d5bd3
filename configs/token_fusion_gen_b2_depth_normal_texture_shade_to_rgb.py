# TokenFusion (S), four inputs to RGB (table 7 of the paper).
_base_ = './token_fusion_gen_b2_shade_texture_to_rgb.py'
inputs = ['depth_euclidean', 'normal', 'edge_texture', 'reshading']
target = 'rgb'
model = dict(inputs=inputs, generator=dict(input_size=(256, 256)))  # that the maps of sources are drawn for
train_dataloader = dict(dataset=dict(inputs=inputs, target=target))
val_dataloader = dict(dataset=dict(inputs=inputs, target=target))
test_dataloader = val_dataloader
