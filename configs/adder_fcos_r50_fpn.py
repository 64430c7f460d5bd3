# Neck ablation (arXiv 2112.13608, table 4), the plain FPN of adder layers: 34.8 AP.
# R-PAFPN, 36.5 AP, is adder_fcos_r50.py.
_base_ = 'adder_fcos_r50_b.py'
model = dict(neck=dict(conv_cfg=dict(type='Adder2d', grad_input='sign'), norm_cfg=dict(type='BN', requires_grad=True)))
