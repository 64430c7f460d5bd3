# T91 for training, Set5, Set14 and BSD100 for testing, x2, in the layout of data/README.md: HR_x2/NAME.png and
# LR_x2/NAME.png (the sets of arXiv 1501.01240). T91 and BSD100 come without low-resolution images: these are made by
# MATLAB's rule.
data_root = '{{$MMDOWNSTREAM_DATA:data}}/sr/'
dataset = dict(type='RestorationDataset', data_root=data_root, scale=2)
load_pair = [dict(type='LoadRestorationImage', key='img'), dict(type='LoadRestorationImage', key='gt')]
load_truth = [dict(type='LoadRestorationImage', key='gt'), dict(type='BicubicDownsample')]

train_dataloader = dict(
    batch_size=16,
    num_workers=0,  # the images stay in memory; a worker would only take a core away
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        dataset,
        metainfo=dict(dataset_type='T91'),
        data_prefix=dict(gt='T91'),
        pipeline=[
            dict(type='LoadRestorationImage', key='gt', use_cache=True),
            dict(type='BicubicDownsample', use_cache=True),
            dict(type='PairedRandomCrop', lq_patch_size=24),
            dict(type='Flip', keys=['img', 'gt'], flip_ratio=0.5, direction='horizontal'),
            dict(type='Flip', keys=['img', 'gt'], flip_ratio=0.5, direction='vertical'),
            dict(type='RandomTransposeHW', keys=['img', 'gt'], transpose_ratio=0.5),
            dict(type='PackInputs')
        ]))

benchmarks = dict(
    Set5=dict(img='Set5/LR_x2', gt='Set5/HR_x2'), Set14=dict(img='Set14/LR_x2', gt='Set14/HR_x2'),
    BSD100=dict(gt='BSD100/HR_x2'))
test_dataloader = [
    dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            dataset,
            metainfo=dict(dataset_type=name),
            data_prefix=folders,
            test_mode=True,
            pipeline=[
                *(load_pair if 'img' in folders else load_truth), dict(type='ModCrop'), dict(type='PackInputs')
            ])) for name, folders in benchmarks.items()
]
test_evaluator = [[dict(type=metric, crop_border=2, prefix=name) for metric in ('PSNR', 'SSIM')]
                  for name in benchmarks]
val_dataloader = test_dataloader[:1]
val_evaluator = test_evaluator[:1]
