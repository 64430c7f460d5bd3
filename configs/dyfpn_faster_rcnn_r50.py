# Faster R-CNN R-50 with DyFPN, structure B and the pooled gate, COCO, 1x (arXiv 2012.00779; the released
# configuration). 8 GPUs with 2 images each; on other numbers add --auto-scale-lr.
_base_ = [
    '_base_/models/faster_rcnn_r50.py', '_base_/datasets/coco_detection.py', '_base_/schedules/sgd_1x.py',
    '_base_/default_runtime.py'
]
custom_imports = dict(
    imports=['projects.runtime', 'projects.det_data', 'projects.dyfpn'], allow_failed_imports=False)

model = dict(
    type='DynamicDetector',
    base='FasterRCNN',
    neck=dict(
        type='DyFPN',
        structure='B',
        gate=dict(type='PoolFCGate'),
        # Inferred: of the authors' grid, alpha 0.5 fits "about 40 % fewer FLOPs". Theirs for B: alpha 0.1, 0.2, 0.3,
        # 0.5; weight 1, 5, 10. On the command line: --cfg-options model.neck.loss_flops.alpha=0.3
        loss_flops=dict(alpha=0.5, loss_weight=1.0),
        # the official code samples the gates at test time, too
        eval_stochastic=False))
train_dataloader = dict(batch_size=2)
custom_hooks = [dict(type='GateStatisticsHook')]
