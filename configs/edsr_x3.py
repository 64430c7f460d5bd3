# EDSR x3 on DIV2K: 32 blocks of 256 channels (arXiv 1707.02921, table 1). The paper starts from the trained x2:
# --cfg-options load_from=work_dirs/edsr_x2/iter_300000.pth
_base_ = 'edsr_baseline_x3.py'
model = dict(generator=dict(mid_channels=256, num_blocks=32, res_scale=0.1))  # 0.1: section 3.3
