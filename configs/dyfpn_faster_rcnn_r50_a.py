# dyfpn_faster_rcnn_r50.py with structure A: exactly one of the seven branches for each image and level. Its gates begin
# unbiased. The authors' grid: alpha 0.5 with weight 1, 5, 10, and alpha 0.1 with weight 10.
_base_ = 'dyfpn_faster_rcnn_r50.py'
model = dict(neck=dict(structure='A'))
