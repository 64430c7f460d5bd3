# Adder RetinaNet-MS-640 R-50, all layers but the stem and the predictors (B+N+H): 34.5 AP in arXiv 2112.13608, table 5.
_base_ = 'adder_retinanet_r50_640.py'
model = dict(bbox_head=dict(conv_cfg=dict(type='Adder2d', grad_input='sign')))
# the towers serve five levels: their summed gradient is scaled once
optim_wrapper = dict(paramwise_cfg=dict(adder_adaptive_lr='optimizer'))
