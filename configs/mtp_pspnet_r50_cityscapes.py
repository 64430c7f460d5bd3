# Search: 20,000 iterations from the trained dense network, scores from segmentation and from ImageNet classification,
# half of the multiply-adds left. The settings are inferred. Then mtp_pspnet_r50_finetune_cityscapes.py.
_base_ = 'pspnet_r50_cityscapes.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.seg_data', 'projects.seg_pruning'], allow_failed_imports=False)

# ---- what you change first
max_iters = 20000
lr = 0.005
target = 0.5
load_from = 'work_dirs/pspnet_r50_cityscapes/iter_40000.pth'

# ---- what you change sometimes
model = dict(
    _delete_=True,
    type='MultiTaskPruning',
    architecture={{_base_.model}},
    # the classification weights that mmseg's backbone starts from; for more classes or other images another folder
    classifier=dict(num_classes=1000, init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnet50_v1c')),
    size=(512, 1024),
    # in units of the mean score gradient: a channel that no task needs loses about half of its score
    sparsity=0.01)
custom_hooks = [dict(type='PruneHook', target=target)]
imagenet_root = '{{$MMDOWNSTREAM_DATA:data}}/imagenet/train/'

# ---- what you hardly ever change
crop_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomAreaCrop'),
    dict(type='Resize', scale=(224, 224)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackClsInputs')
]
train_cfg = dict(
    type='MultiTaskTrainLoop',
    max_iters=max_iters,
    cls_dataloader=dict(
        batch_size=64,
        num_workers=8,
        persistent_workers=True,
        sampler=dict(type='InfiniteSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
        dataset=dict(type='ClassFolderDataset', data_root=imagenet_root, pipeline=crop_pipeline)))
optim_wrapper = dict(
    constructor='ScoreOptimWrapperConstructor',
    optimizer=dict(lr=lr),
    score_optimizer=dict(type='SGD', lr=lr))
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=max_iters, by_epoch=False)]
model_wrapper_cfg = dict(type='ReplicatedModel')
