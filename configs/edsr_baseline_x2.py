# EDSR-baseline x2 on DIV2K.
_base_ = [
    '_base_/models/edsr_baseline.py', '_base_/datasets/div2k_x2.py', '_base_/schedules/sr_300k.py',
    '_base_/restoration_runtime.py'
]
custom_imports = dict(imports=['projects.runtime', 'projects.restoration'], allow_failed_imports=False)
model = dict(generator=dict(upscale_factor=2))
