# CARN for x2, x3 and x4 at once, on DIV2K: one scale in each step, batches of 64 patches of 64 x 64 pixels
# (arXiv 1803.08664, section 4.2, and its public code).
_base_ = [
    '_base_/models/carn.py', '_base_/datasets/div2k_multi_scale.py', '_base_/schedules/carn_600k.py',
    '_base_/restoration_runtime.py'
]
custom_imports = dict(imports=['projects.runtime', 'projects.restoration'], allow_failed_imports=False)
model = dict(generator=dict(multi_scale=True))
train_dataloader = dict(batch_size=64)
default_hooks = dict(checkpoint=dict(save_best='Set5_x2/PSNR'))
find_unused_parameters = True  # each step uses one upsampler of three
