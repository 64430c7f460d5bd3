# Adder VDSR, one network for x2, x3 and x4 (AdderSR, arXiv 2009.08891): the 18 inner layers of VDSR are adder units.
# Data and number of steps are VDSR's; the paper's could not be read (inferred). The rows of its ablation:
#   --cfg-options model.generator.self_shortcut=False model.generator.power_cfg=None
_base_ = 'vdsr.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.restoration', 'projects.adder_sr'], allow_failed_imports=False)
model = dict(generator=dict(type='AdderVDSR', conv_cfg=dict(type='Adder2d')))
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    constructor='AdderSROptimWrapperConstructor',
    optimizer=dict(type='Adam', lr=3e-4),  # the paper's two rates: 3e-4, and 3e-3 for adder filters (inferred which)
    paramwise_cfg=dict(adder_lr_mult=10.))
custom_hooks = []  # Adam needs no adjustable clipping
