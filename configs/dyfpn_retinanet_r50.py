# RetinaNet R-50 with DyFPN, structure B. Inferred: the authors trained RetinaNet with the static neck only.
_base_ = 'inception_fpn_retinanet_r50.py'
model = dict(
    type='DynamicDetector',
    base='RetinaNet',
    neck=dict(
        type='DyFPN',
        structure='B',
        gate=dict(type='PoolFCGate'),
        loss_flops=dict(alpha=0.5, loss_weight=1.0)))
custom_hooks = [dict(type='GateStatisticsHook')]
