# mask_group_mini.py without masks: groups are scored as they are.
_base_ = 'mask_group_mini.py'
model = dict(mask_score_head=dict(with_mask=False))
