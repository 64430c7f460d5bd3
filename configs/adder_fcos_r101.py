# Adder FCOS R-101 (B+N), 24 epochs: 38.6 AP in arXiv 2112.13608, table 5.
_base_ = 'adder_fcos_r50_2x.py'
model = dict(backbone=dict(depth=101))
