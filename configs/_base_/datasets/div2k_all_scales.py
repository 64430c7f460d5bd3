# DIV2K for training, the benchmarks in EDSR's layout for validation and testing, for x2, x3 and x4 (data/README.md). No
# experiment inherits this file: div2k_x2.py, _x3, _x4 and div2k_multi_scale.py each take their part of it.
# Another place for all data: MMDOWNSTREAM_DATA=/path; for restoration and one run: --cfg-options data_root=/path/sr/
data_root = '{{$MMDOWNSTREAM_DATA:data}}/sr/'
dataset_type = 'RestorationDataset'
benchmarks = ('Set5', 'Set14', 'B100', 'Urban100')  # the papers' four; Manga109 fits in here as well

# by the side of a patch: in the input (EDSR 48, RDN 32, CARN 64), or in the truth (IMDN 192)
train_pipelines = {
    name: [
        dict(type='LoadRestorationImage', key='img'),
        dict(type='LoadRestorationImage', key='gt'),
        dict(type='PairedRandomCrop', **patch),
        dict(type='Flip', keys=['img', 'gt'], flip_ratio=0.5, direction='horizontal'),
        dict(type='Flip', keys=['img', 'gt'], flip_ratio=0.5, direction='vertical'),
        dict(type='RandomTransposeHW', keys=['img', 'gt'], transpose_ratio=0.5),
        dict(type='PackInputs')
    ] for name, patch in dict(
        lq48=dict(lq_patch_size=48), lq32=dict(lq_patch_size=32), lq64=dict(lq_patch_size=64),
        gt192=dict(gt_patch_size=192)).items()
}
test_pipeline = [
    dict(type='LoadRestorationImage', key='img'),
    dict(type='LoadRestorationImage', key='gt'),
    dict(type='ModCrop'),  # the truth is cut to the input's size times the scale
    dict(type='PackInputs')
]

x2, x3, x4 = [
    dict(
        train_dataloader=dict(
            batch_size=16,
            num_workers=8,  # whole 2K images are decoded; with sub-images (tools/dataset_converters) fewer will do
            persistent_workers=True,
            sampler=dict(type='InfiniteSampler', shuffle=True),
            dataset=dict(
                type=dataset_type,
                metainfo=dict(dataset_type='DIV2K'),
                data_root=data_root,
                data_prefix=dict(img=f'DIV2K/DIV2K_train_LR_bicubic/X{scale}', gt='DIV2K/DIV2K_train_HR'),
                filename_tmpl=dict(img=f'{{}}x{scale}', gt='{}'),
                index_range=(1, 800),  # some copies hold the validation images 801 to 900 in the same folders
                scale=scale,
                pipeline=train_pipelines['lq48'])),
        test_dataloader=[
            dict(
                batch_size=1,
                num_workers=1,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dict(
                    type=dataset_type,
                    metainfo=dict(dataset_type=name),
                    data_root=data_root,
                    data_prefix=dict(img=f'benchmark/{name}/LR_bicubic/X{scale}', gt=f'benchmark/{name}/HR'),
                    filename_tmpl=dict(img=f'{{}}x{scale}', gt='{}'),
                    scale=scale,
                    test_mode=True,
                    pipeline=test_pipeline)) for name in benchmarks
        ],
        # on luma, rounded to 8 bit, without `scale` pixels at the border
        test_evaluator=[[dict(type=metric, crop_border=scale, prefix=name) for metric in ('PSNR', 'SSIM')]
                        for name in benchmarks]) for scale in (2, 3, 4)
]

# one model for all scales (CARN, with its patches): every batch has one scale, the sets are called Set5_x2, Set5_x3...
multi = dict(
    train_dataloader=dict(
        x2['train_dataloader'],
        batch_sampler=dict(type='SameSourceBatchSampler'),
        dataset=dict(
            type='ConcatDataset', datasets=[
                dict(part['train_dataloader']['dataset'], pipeline=train_pipelines['lq64']) for part in (x2, x3, x4)
            ])),
    test_dataloader=[
        dict(loader, dataset=dict(loader['dataset'], metainfo=dict(dataset_type=f'{name}_x{scale}')))
        for scale, part in ((2, x2), (3, x3), (4, x4))
        for name, loader in zip(benchmarks, part['test_dataloader'], strict=True)
    ],
    test_evaluator=[[dict(metric, prefix=f'{name}_x{scale}') for metric in metrics]
                    for scale, part in ((2, x2), (3, x3), (4, x4))
                    for name, metrics in zip(benchmarks, part['test_evaluator'], strict=True)])

# validation on the first benchmark
x2, x3, x4, multi = [
    dict(part, **{key.replace('test', 'val'): part[key][::len(benchmarks)]
                  for key in ('test_dataloader', 'test_evaluator')}) for part in (x2, x3, x4, multi)
]
