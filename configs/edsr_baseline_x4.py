# EDSR-baseline x4 on DIV2K. The paper starts from the trained x2 (section 4.2):
# --cfg-options load_from=work_dirs/edsr_baseline_x2/iter_300000.pth, with a warning about the upsampler that differs.
_base_ = [
    '_base_/models/edsr_baseline.py', '_base_/datasets/div2k_x4.py', '_base_/schedules/sr_300k.py',
    '_base_/restoration_runtime.py'
]
custom_imports = dict(imports=['projects.runtime', 'projects.restoration'], allow_failed_imports=False)
model = dict(generator=dict(upscale_factor=4))
