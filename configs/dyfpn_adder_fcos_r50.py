# Adder FCOS R-50 whose neck is a DyFPN of adder layers: two methods of the suite in one model. Not in a paper.
# Adder layers elsewhere only: model.neck.conv_cfg=None; in the neck but not in the bank:
# model.neck.bank.conv_cfg=None model.neck.bank.norm_cfg=None
_base_ = 'adder_fcos_r50.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.det_data', 'projects.adder_fcos', 'projects.dyfpn'],
    allow_failed_imports=False)
model = dict(
    type='DynamicDetector',
    base='FCOS',
    neck=dict(
        _delete_=True,
        type='DyFPN',
        in_channels=[512, 1024, 2048],
        out_channels=256,
        num_outs=5,
        add_extra_convs='on_output',
        relu_before_extra_convs=True,
        conv_cfg=dict(type='Adder2d', grad_input='sign'),
        norm_cfg=dict(type='BN', requires_grad=True),  # every adder layer needs one, each branch its own
        structure='B',
        bank=dict(),
        gate=dict(type='PoolFCGate'),
        loss_flops=dict(alpha=0.5, loss_weight=1.0)))
custom_hooks = [dict(type='GateStatisticsHook')]
