# The convolutional twin of adder_fcos_r50.py: same graph, same recipe, only the operator differs. It is not the
# paper's conv baseline (38.4 AP), which has frozen statistics and a plain FPN.
_base_ = 'adder_fcos_r50.py'
model = dict(backbone=dict(conv_cfg=None), neck=dict(conv_cfg=None))
