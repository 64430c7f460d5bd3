# VDSR, one network for x2, x3 and x4, on the 291 images (91, and 200 of the Berkeley set): arXiv 1511.04587, section
# 4.2. It restores luma; the paper's patches of 41 x 41 pixels become 42 x 42 (x4: 40 x 40), multiples of the scale,
# because ours are cut out of low-resolution images before these are enlarged.
_base_ = ['_base_/datasets/div2k_multi_scale.py', '_base_/restoration_runtime.py']
custom_imports = dict(imports=['projects.runtime', 'projects.restoration'], allow_failed_imports=False)

model = dict(
    type='ImageRestorer',
    data_preprocessor=dict(type='RestorationDataPreprocessor', channels='y'),
    generator=dict(type='VDSR', num_layers=20, mid_channels=64),
    # half the sum over a patch, so that the rate 0.1 means what it meant to Caffe and MatConvNet (inferred)
    pixel_loss=dict(type='MSELoss', loss_weight=41 * 41 / 2),
    test_cfg=dict(tile=None, tile_overlap=16, self_ensemble=False))

# only high-resolution images are given: the others are made by MATLAB's rule, and kept in memory
train_datasets = [
    dict(
        type='RestorationDataset',
        metainfo=dict(dataset_type='T291'),
        data_root='{{$MMDOWNSTREAM_DATA:data}}/sr/',
        data_prefix=dict(gt='T291'),
        scale=scale,
        pipeline=[
            dict(type='LoadRestorationImage', key='gt', use_cache=True),
            dict(type='BicubicDownsample', use_cache=True),
            dict(type='PairedRandomCrop', gt_patch_size=41 // scale * scale + scale * (scale < 4)),
            dict(type='Flip', keys=['img', 'gt'], flip_ratio=0.5, direction='horizontal'),
            dict(type='Flip', keys=['img', 'gt'], flip_ratio=0.5, direction='vertical'),
            dict(type='RandomTransposeHW', keys=['img', 'gt'], transpose_ratio=0.5),
            dict(type='PackInputs')
        ]) for scale in (2, 3, 4)
]
train_dataloader = dict(
    batch_size=64, num_workers=2, dataset=dict(_delete_=True, type='ConcatDataset', datasets=train_datasets))

# 80 "epochs", 9960 steps in all; the rate falls to a tenth every 20
train_cfg = dict(type='IterBasedTrainLoop', max_iters=9960, val_interval=1245)
val_cfg = dict(type='MultiValLoop')
test_cfg = dict(type='MultiTestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=0.4))
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[2490, 4980, 7470], gamma=0.1)]
# "adjustable gradient clipping", section 3.2: the bound grows as the rate falls. Theta is not given (inferred: 0.04,
# which makes 0.4 of the first rate, as in a common re-implementation)
custom_hooks = [dict(type='AdjustableClipHook', theta=0.04)]
auto_scale_lr = dict(enable=False, base_batch_size=64)
default_hooks = dict(checkpoint=dict(interval=1245, save_best='Set5_x2/PSNR'))
