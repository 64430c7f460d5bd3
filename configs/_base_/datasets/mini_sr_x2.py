# The mini restoration set x2: 32 drawn pictures to train on, two test sets of 4.
data_root = '{{$MMDOWNSTREAM_DATA:data}}/mini_sr/'
dataset = dict(
    type='RestorationDataset', data_root=data_root, scale=2, filename_tmpl=dict(img='{}x2', gt='{}'))

train_dataloader = dict(
    batch_size=16,
    num_workers=0,  # reading such small images takes less time than sharing the cores with a worker
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        dataset,
        metainfo=dict(dataset_type='mini'),
        data_prefix=dict(img='train/LR_bicubic/X2', gt='train/HR'),
        pipeline=[
            dict(type='LoadRestorationImage', key='img', use_cache=True),
            dict(type='LoadRestorationImage', key='gt', use_cache=True),
            dict(type='PairedRandomCrop', lq_patch_size=24),
            dict(type='Flip', keys=['img', 'gt'], flip_ratio=0.5, direction='horizontal'),
            dict(type='Flip', keys=['img', 'gt'], flip_ratio=0.5, direction='vertical'),
            dict(type='RandomTransposeHW', keys=['img', 'gt'], transpose_ratio=0.5),
            dict(type='PackInputs')
        ]))
val_dataloader = [
    dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            dataset,
            metainfo=dict(dataset_type=name),
            data_prefix=dict(img=f'benchmark/{name}/LR_bicubic/X2', gt=f'benchmark/{name}/HR'),
            test_mode=True,
            pipeline=[
                dict(type='LoadRestorationImage', key='img'),
                dict(type='LoadRestorationImage', key='gt'),
                dict(type='ModCrop'),
                dict(type='PackInputs')
            ])) for name in ('Stripes', 'Shapes')
]
val_evaluator = [[dict(type=metric, crop_border=2, prefix=name) for metric in ('PSNR', 'SSIM')]
                 for name in ('Stripes', 'Shapes')]
test_dataloader = val_dataloader
test_evaluator = val_evaluator
