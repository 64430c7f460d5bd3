# A small IPT for two CPU cores and a minute: pre-training for its six tasks at once on drawn textures
# (tools/dataset_converters/make_mini_restoration.py). It shows that everything works; its PSNR says nothing about
# photographs, and a minute is short for a network whose output does not start from its input.
_base_ = 'ipt_pretrain.py'

# ---- what you change first
data_root = '{{$MMDOWNSTREAM_DATA:data}}/mini_sr/'
max_iters = 400
batch_size = 8

# ---- what you change sometimes
patch_size = 24
model = dict(
    generator=dict(n_feats=16, patch_size=patch_size, num_heads=6, num_layers=2),
    contrastive_loss=dict(num_patches=16),
    test_cfg=dict(tiling='ipt_ms'))  # a ninth of the windows
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=max_iters, eta_min=1e-5, by_epoch=False)]
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
auto_scale_lr = dict(base_batch_size=batch_size)
randomness = dict(seed=0)
default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(by_epoch=False, interval=max_iters, max_keep_ckpts=1, save_best=None))
log_processor = dict(by_epoch=False)

# ---- what you hardly ever change
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=0,  # reading such small images takes less time than sharing the cores with a worker
    persistent_workers=False,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        metainfo=dict(dataset_type='mini'),
        data_root=data_root,
        data_prefix=dict(gt='train/HR'),
        recursive=False,
        pipeline=[
            dict(type='LoadRestorationImage', key='gt', use_cache=True),
            dict(type='PackScaleCrops', patch_size=patch_size)
        ]))

meta_keys = ('key', 'img_path', 'gt_path', 'scale', 'ori_img_shape', 'ori_gt_shape', 'noise_sigma', 'task')
load = [dict(type='LoadRestorationImage', key='img'), dict(type='LoadRestorationImage', key='gt'), dict(type='ModCrop')]
noise = [dict(type='LoadRestorationImage', key='gt'), dict(type='CopyValues', src_keys=['gt'], dst_keys=['img'])]
test_sets = [(f'Shapes_x{scale}', f'sr_x{scale}', dict(
    scale=scale,
    data_prefix=dict(img=f'benchmark/Shapes/LR_bicubic/X{scale}', gt='benchmark/Shapes/HR'),
    filename_tmpl=dict(img=f'{{}}x{scale}', gt='{}')), load) for scale in (2, 3, 4)]
test_sets += [('Shapes_rain', 'derain', dict(
    data_prefix=dict(img='rain/test', gt='rain/test'), filename_tmpl=dict(img='rain-{}', gt='norain-{}')), load)]
test_sets += [(f'Shapes_s{sigma}', f'denoise_s{sigma}', dict(data_prefix=dict(gt='benchmark/Shapes/HR')),
               [*noise, dict(type='AddGaussianNoise', sigma=sigma, seed=0)]) for sigma in (30, 50)]
val_dataloader = [
    dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            type='RestorationDataset',
            metainfo=dict(dataset_type=name),
            data_root=data_root,
            test_mode=True,
            pipeline=[*steps, dict(type='SetValues', dictionary=dict(task=task)),
                      dict(type='PackInputs', meta_keys=meta_keys)],
            **folders)) for name, task, folders, steps in test_sets
]
val_evaluator = [[dict(type=metric, crop_border=folders.get('scale', 0), prefix=name) for metric in ('PSNR', 'SSIM')]
                 for name, _, folders, _ in test_sets]
test_dataloader = val_dataloader
test_evaluator = val_evaluator
load = noise = test_sets = None  # parts of the lists above
