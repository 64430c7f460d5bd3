# The adder twin of vdsr_small_x2_t91.py: other layers, and a rate for them; everything else is alike. Without what
# AdderSR adds: --cfg-options model.generator.self_shortcut=False model.generator.power_cfg=None
_base_ = 'vdsr_small_x2_t91.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.restoration', 'projects.adder_sr'], allow_failed_imports=False)
model = dict(generator=dict(type='AdderVDSR', conv_cfg=dict(type='Adder2d')))
optim_wrapper = dict(
    constructor='AdderSROptimWrapperConstructor',
    paramwise_cfg=dict(adder_lr_mult=3.))  # 3e-3 for adder filters, as in the paper
