# Adder FCOS R-18 (B+N), 24 epochs: 33.6 AP from distilled weights in arXiv 2112.13608, table 2.
_base_ = 'adder_fcos_r50_2x.py'
model = dict(backbone=dict(depth=18), neck=dict(in_channels=[128, 256, 512]))
