# mask_group_mini.py with one level of grouping, that is PointGroup's clusters of shifted points.
_base_ = 'mask_group_mini.py'
model = dict(grouping=dict(radii=(0.06, )))
