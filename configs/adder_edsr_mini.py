# The adder twin of edsr_mini.py: other layers, and a rate for them; everything else is alike.
_base_ = 'edsr_mini.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.restoration', 'projects.adder_sr'], allow_failed_imports=False)
model = dict(
    data_preprocessor=dict(std=255.),  # 0..1
    generator=dict(type='AdderEDSR', res_scale=0.1, conv_cfg=dict(type='Adder2d')))
optim_wrapper = dict(
    constructor='AdderSROptimWrapperConstructor',
    paramwise_cfg=dict(adder_lr_mult=3.))  # 3e-3 for adder filters, as in the paper
