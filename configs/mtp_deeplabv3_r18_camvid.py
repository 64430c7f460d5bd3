# Search on CamVid at reduced size: from the trained dense network, scores from segmentation and from crops of the 11
# classes (there is no ImageNet network of this width), half of the multiply-adds left. Then *_finetune_*, *_deploy_*.
_base_ = 'deeplabv3_r18_camvid.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.seg_data', 'projects.seg_pruning'], allow_failed_imports=False)

# ---- what you change first
max_iters = 50
target = 0.5
load_from = 'work_dirs/deeplabv3_r18_camvid/iter_300.pth'

# ---- what you change sometimes
model = dict(
    _delete_=True,
    type='MultiTaskPruning',
    architecture={{_base_.model}},
    classifier=dict(num_classes=11),
    size=(180, 240),
    # in units of the mean score gradient: in 50 steps of 0.02, decaying, a channel that no task needs loses half of
    # its score
    sparsity=1.0)
custom_hooks = [dict(type='PruneHook', target=target, floors=dict(min_channels=4, min_ratio=0.1, round_to=4))]

# ---- what you hardly ever change
crop_pipeline = [
    dict(type='RandomAreaCrop', area=(0.5, 1.0)),
    dict(type='Resize', scale=(64, 64)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackClsInputs')
]
train_cfg = dict(
    type='MultiTaskTrainLoop',
    max_iters=max_iters,
    val_interval=max_iters,
    cls_dataloader=dict(
        batch_size=32,
        num_workers=0,
        sampler=dict(type='InfiniteSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
        dataset=dict(
            type='ClassCropDataset',
            dataset=dict(
                type='CamVidDataset', data_root={{_base_.data_root}},
                data_prefix=dict(img_path='images/train', seg_map_path='labels/train')),
            pipeline=crop_pipeline)))
optim_wrapper = dict(
    constructor='ScoreOptimWrapperConstructor',
    optimizer=dict(lr=5e-4),
    score_optimizer=dict(type='SGD', lr=0.02))
param_scheduler = [dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=max_iters, by_epoch=False)]
model_wrapper_cfg = dict(type='ReplicatedModel')
default_hooks = dict(checkpoint=dict(interval=max_iters))
