# Adder EDSR x2 on DIV2K (AdderSR, arXiv 2009.08891): the layers of EDSR's trunk are adder units.
# All but the adder layers is EDSR's recipe (inferred; the paper's could not be read).
_base_ = 'edsr_x2.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.restoration', 'projects.adder_sr'], allow_failed_imports=False)
model = dict(
    data_preprocessor=dict(std=255.),  # 0..1
    generator=dict(type='AdderEDSR', conv_cfg=dict(type='Adder2d')))
optim_wrapper = dict(
    constructor='AdderSROptimWrapperConstructor',
    optimizer=dict(lr=3e-4),  # the paper's two rates: 3e-4, and 3e-3 for adder filters (inferred which is which)
    paramwise_cfg=dict(adder_lr_mult=10.))
