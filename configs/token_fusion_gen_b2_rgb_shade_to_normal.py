# TokenFusion (S), RGB and shade to normals.
_base_ = './token_fusion_gen_b2_shade_texture_to_rgb.py'
inputs = ['rgb', 'reshading']
target = 'normal'
model = dict(inputs=inputs)
train_dataloader = dict(dataset=dict(inputs=inputs, target=target))
val_dataloader = dict(dataset=dict(inputs=inputs, target=target))
test_dataloader = val_dataloader
val_evaluator = [dict(type='TranslationError')]
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best='MAE'))
