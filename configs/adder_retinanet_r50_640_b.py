# Adder RetinaNet-MS-640 R-50, backbone only (B): 36.4 AP in arXiv 2112.13608, table 5.
_base_ = 'adder_retinanet_r50_640.py'
model = dict(neck=dict(conv_cfg=None, no_norm_on_lateral=True))
