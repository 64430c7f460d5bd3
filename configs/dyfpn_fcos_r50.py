# FCOS R-50 (improved head) with DyFPN, structure B. Not in the paper.
_base_ = [
    '_base_/models/fcos_r50.py', '_base_/datasets/coco_detection.py', '_base_/schedules/sgd_1x.py',
    '_base_/default_runtime.py'
]
custom_imports = dict(
    imports=['projects.runtime', 'projects.det_data', 'projects.dyfpn'], allow_failed_imports=False)
model = dict(
    type='DynamicDetector',
    base='FCOS',
    neck=dict(
        type='DyFPN',
        structure='B',
        gate=dict(type='PoolFCGate'),
        loss_flops=dict(alpha=0.5, loss_weight=1.0)))
train_dataloader = dict(batch_size=2)
# mmdet's recipe of FCOS
optim_wrapper = dict(
    optimizer=dict(lr=0.01),
    paramwise_cfg=dict(bias_lr_mult=2., bias_decay_mult=0.),
    clip_grad=dict(_delete_=True, max_norm=35, norm_type=2))
custom_hooks = [dict(type='GateStatisticsHook')]
