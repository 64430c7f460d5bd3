# EDSR x2 on DIV2K: 32 blocks of 256 channels (arXiv 1707.02921, table 1).
_base_ = 'edsr_baseline_x2.py'
model = dict(generator=dict(mid_channels=256, num_blocks=32, res_scale=0.1))  # 0.1: section 3.3
