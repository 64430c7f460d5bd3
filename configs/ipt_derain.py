# IPT for deraining: one task of the pre-trained network, fine-tuned on the pairs of RainTrainL and tested on Rain100L.
# 8 GPUs with 32 patches each; about `load_from` see ipt_sr_x2.py. Two versions of Rain100L circulate; scores differ.
_base_ = ['_base_/models/ipt.py', '_base_/schedules/ipt_finetune.py', '_base_/restoration_runtime.py']
custom_imports = dict(imports=['projects.runtime', 'projects.ipt'], allow_failed_imports=False)
load_from = 'work_dirs/ipt_pretrain/epoch_300.pth'
model = dict(generator=dict(tasks=['derain']))

data_root = '{{$MMDOWNSTREAM_DATA:data}}/sr/'
pairs = dict(type='RestorationDataset', data_root=data_root, filename_tmpl=dict(img='rain-{}', gt='norain-{}'))
train_dataloader = dict(
    batch_size={{_base_.batch_size}},
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        pairs,
        metainfo=dict(dataset_type='RainTrainL'),
        data_prefix=dict(img='RainTrainL', gt='RainTrainL'),
        pipeline=[
            dict(type='LoadRestorationImage', key='img'),
            dict(type='LoadRestorationImage', key='gt'),
            dict(type='PairedRandomCrop', gt_patch_size=48),
            dict(type='Flip', keys=['img', 'gt'], flip_ratio=0.5, direction='horizontal'),
            dict(type='Flip', keys=['img', 'gt'], flip_ratio=0.5, direction='vertical'),
            dict(type='RandomTransposeHW', keys=['img', 'gt'], transpose_ratio=0.5),
            dict(type='PackInputs')
        ]))
test_dataloader = [
    dict(
        batch_size=1,
        num_workers=1,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            pairs,
            metainfo=dict(dataset_type='Rain100L'),
            data_prefix=dict(img='Rain100L', gt='Rain100L'),
            test_mode=True,
            pipeline=[
                dict(type='LoadRestorationImage', key='img'),
                dict(type='LoadRestorationImage', key='gt'),
                dict(type='PackInputs')
            ]))
]
test_evaluator = [[dict(type=metric, prefix='Rain100L') for metric in ('PSNR', 'SSIM')]]
val_dataloader = test_dataloader
val_evaluator = test_evaluator
default_hooks = dict(checkpoint=dict(save_best='Rain100L/PSNR'))
