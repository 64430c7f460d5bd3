# inception_fpn_retinanet_r18_mini.py with gates: DyFPN, structure B.
_base_ = 'inception_fpn_retinanet_r18_mini.py'
model = dict(
    type='DynamicDetector',
    base='RetinaNet',
    neck=dict(
        _delete_=True,
        type='DyFPN',
        in_channels=[32, 64, 128, 256],
        out_channels=64,
        start_level=1,
        num_outs=3,
        structure='B',
        gate=dict(type='PoolFCGate'),
        # a few hundred steps are few for the gates: a larger weight than on COCO, and a loss that makes them decide
        loss_flops=dict(alpha=0.5, loss_weight=5.0, estimator='expected')))
# Adam moves all weights alike, so logits of levels with more channels move faster and would be closed first, whatever
# they cost: rates that level this out
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'neck.gates.levels.0': dict(lr_mult=2.0),
            'neck.gates.levels.1': dict(lr_mult=0.4),
            'neck.gates.levels.2': dict(lr_mult=0.15)
        }))
custom_hooks = [dict(type='GateStatisticsHook')]
