# Gaussian noise of sigma 30 and 50: clean patches of DIV2K with new noise in each step; CBSD68 and Urban100 for
# testing, the former for validation. An experiment takes its part: s30.train_dataloader and so on.
data_root = '{{$MMDOWNSTREAM_DATA:data}}/sr/'
clean = [dict(type='LoadRestorationImage', key='gt'), dict(type='CopyValues', src_keys=['gt'], dst_keys=['img'])]
test_sets = ('CBSD68', 'Urban100')

s30, s50 = [
    dict(
        train_dataloader=dict(
            batch_size=32,
            num_workers=8,
            persistent_workers=True,
            sampler=dict(type='InfiniteSampler', shuffle=True),
            dataset=dict(
                type='RestorationDataset',
                metainfo=dict(dataset_type='DIV2K'),
                data_root=data_root,
                data_prefix=dict(gt='DIV2K/DIV2K_train_HR'),
                index_range=(1, 800),
                pipeline=[
                    *clean,
                    dict(type='PairedRandomCrop', gt_patch_size=48),  # no flips, as in IPT's released training code
                    dict(type='AddGaussianNoise', sigma=sigma),
                    dict(type='PackInputs')
                ])),
        test_dataloader=[
            dict(
                batch_size=1,
                num_workers=1,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dict(
                    type='RestorationDataset',
                    metainfo=dict(dataset_type=name),
                    data_root=data_root,
                    data_prefix=dict(gt=f'benchmark/{name}/HR'),
                    test_mode=True,
                    # clipped and not rounded, as in IPT's released code, whose noise has no seed; here every image has
                    # its own noise, always the same
                    pipeline=[*clean, dict(type='AddGaussianNoise', sigma=sigma, seed=0), dict(type='PackInputs')]))
            for name in test_sets
        ]) for sigma in (30, 50)
]
s30, s50 = [dict(part, val_dataloader=part['test_dataloader'][:1]) for part in (s30, s50)]
# papers report luma (IPT) or RGB (most others), which differ by 1.5 dB: both
test_evaluator = [[
    dict(type='PSNR', prefix=name),
    dict(type='SSIM', prefix=name),
    dict(type='PSNR', convert_to=None, prefix=f'{name}_rgb')
] for name in test_sets]
val_evaluator = test_evaluator[:1]
