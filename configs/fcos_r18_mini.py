# The convolutional twin of adder_fcos_r18_mini.py: same graph, same recipe, only the operator differs.
_base_ = 'adder_fcos_r18_mini.py'
model = dict(backbone=dict(conv_cfg=None), neck=dict(conv_cfg=None))
