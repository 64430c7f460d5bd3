# inception_fpn_retinanet_r18_bccd_40e.py with gates: DyFPN, structure B.
_base_ = 'inception_fpn_retinanet_r18_bccd_40e.py'
model = dict(
    type='DynamicDetector',
    base='RetinaNet',
    neck=dict(
        _delete_=True,
        type='DyFPN',
        in_channels=[64, 128, 256, 512],
        out_channels=64,
        start_level=1,
        num_outs=3,
        structure='B',
        gate=dict(type='PoolFCGate'),
        # a few hundred steps are few for the gates: a larger weight than on COCO
        loss_flops=dict(alpha=0.5, loss_weight=5.0)))
custom_hooks = [dict(type='GateStatisticsHook')]
