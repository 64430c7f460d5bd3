# Pre-training of IPT on ImageNet, corrupted on the fly for one of six tasks in each step (arXiv 2012.00364, section
# 4.1). 8 GPUs with 32 patches each; the paper has 32 with 8. ImageNet is any folder of images, labels are ignored.
_base_ = ['_base_/models/ipt.py', '_base_/restoration_runtime.py']
custom_imports = dict(imports=['projects.runtime', 'projects.ipt'], allow_failed_imports=False)

# ---- what you change first
imagenet_root = '{{$MMDOWNSTREAM_DATA:data}}/imagenet/'
data_root = '{{$MMDOWNSTREAM_DATA:data}}/sr/'  # of the sets for validation
# folder of the rain streaks, files `rainstreak*` of RainTrainL; None draws streaks by a recipe of this suite
streak_dir = None
batch_size = 32  # the paper's 256 in all

# ---- what you change sometimes
model = dict(
    data_preprocessor=dict(
        type='TaskCorruptionPreprocessor',
        degradations=dict(
            sr_x2=dict(type='BicubicDegradation', scale=2),
            sr_x3=dict(type='BicubicDegradation', scale=3),
            sr_x4=dict(type='BicubicDegradation', scale=4),
            derain=dict(type='RainDegradation', streak_dir=streak_dir),
            denoise_s30=dict(type='NoiseDegradation', sigma=30),
            denoise_s50=dict(type='NoiseDegradation', sigma=50))),
    # form='paper' is the paper's; all 256 patches of 32 images need about 1 GiB, num_patches=64
    # draws a quarter of them
    contrastive_loss=dict(type='PatchContrastiveLoss', form='supcon', temperature=0.07, loss_weight=0.1))
find_unused_parameters = True  # each step uses one head and one tail of six
max_epochs = 300
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=10)
val_cfg = dict(type='MultiValLoop')
test_cfg = dict(type='MultiTestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=5e-5, betas=(0.9, 0.999), eps=1e-8),
    clip_grad=dict(max_norm=1.))  # of all gradients; the released code clips each tensor's to 1, the paper is silent
# "decayed to 2e-5 in 200 epochs": one step (inferred)
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[200], gamma=0.4)]
auto_scale_lr = dict(enable=False, base_batch_size=256)

# ---- what you hardly ever change
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='RestorationDataset',
        metainfo=dict(dataset_type='ImageNet'),
        data_root=imagenet_root,
        data_prefix=dict(gt='train'),
        recursive=True,
        pipeline=[dict(type='LoadRestorationImage', key='gt'), dict(type='PackScaleCrops', patch_size=48)]))

meta_keys = ('key', 'img_path', 'gt_path', 'scale', 'ori_img_shape', 'ori_gt_shape', 'noise_sigma', 'task')
load = [dict(type='LoadRestorationImage', key='img'), dict(type='LoadRestorationImage', key='gt'), dict(type='ModCrop')]
noise = [dict(type='LoadRestorationImage', key='gt'), dict(type='CopyValues', src_keys=['gt'], dst_keys=['img'])]
# name, task, folders of the images, steps of the pipeline
test_sets = [(f'Set5_x{scale}', f'sr_x{scale}', dict(
    scale=scale,
    data_prefix=dict(img=f'benchmark/Set5/LR_bicubic/X{scale}', gt='benchmark/Set5/HR'),
    filename_tmpl=dict(img=f'{{}}x{scale}', gt='{}')), load) for scale in (2, 3, 4)]
test_sets += [('Rain100L', 'derain', dict(
    data_prefix=dict(img='Rain100L', gt='Rain100L'), filename_tmpl=dict(img='rain-{}', gt='norain-{}')), load)]
test_sets += [(f'CBSD68_s{sigma}', f'denoise_s{sigma}', dict(data_prefix=dict(gt='benchmark/CBSD68/HR')),
               [*noise, dict(type='AddGaussianNoise', sigma=sigma, seed=0)]) for sigma in (30, 50)]
val_dataloader = [
    dict(
        batch_size=1,
        num_workers=1,
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
# luma; pixels as wide as the scale are left out at the border, none for scale 1
val_evaluator = [[dict(type=metric, crop_border=folders.get('scale', 0), prefix=name) for metric in ('PSNR', 'SSIM')]
                 for name, _, folders, _ in test_sets]
test_dataloader = val_dataloader
test_evaluator = val_evaluator
load = noise = test_sets = None  # parts of the lists above

default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1, save_best='Set5_x2/PSNR'))
log_processor = dict(by_epoch=True)
