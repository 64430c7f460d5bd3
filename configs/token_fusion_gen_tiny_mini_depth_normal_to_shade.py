# A small TokenFusion translator on drawn rooms, for one CPU core. It shows that everything works; its errors say
# nothing about Taskonomy. The target needs both inputs: the lamp at the camera lights a surface by its direction and by
# its distance. Rows to compare with, by --cfg-options:
#   model.fusion=concat                                    both inputs as channels of one stream
#   model.fusion=none model.inputs=[normal]                one input alone (or [depth_euclidean])
#   model.fusion=none                                      two streams that meet in the ensemble only
_base_ = ['_base_/datasets/taskonomy_mini.py', '_base_/translation_runtime.py']
custom_imports = dict(imports=['projects.runtime', 'projects.token_fusion.translation'], allow_failed_imports=False)

# ---- what you change first
lr = 1e-3
max_epochs = 16
inputs = ['depth_euclidean', 'normal']
target = 'reshading'

# ---- what you change sometimes
model = dict(
    type='TokenFusionTranslator',
    inputs=inputs,
    fusion='exchange',
    generator=dict(arch='tiny', mlp_ratio=2, drop_path_rate=0.),
    discriminator=dict(arch='tiny', mlp_ratio=2, drop_path_rate=0.),
    l1_weight=100.,
    sparsity_weight=1e-3)

# ---- what you hardly ever change
train_dataloader = dict(dataset=dict(inputs=inputs, target=target))
val_dataloader = dict(dataset=dict(inputs=inputs, target=target))
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='TranslationError'),
    dict(type='FeatureDistance', features=dict(type='RandomConvFeatures'), prefix='random')  # compares with nothing
]
test_evaluator = val_evaluator
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=8)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    constructor='AdversarialOptimWrapperConstructor',
    generator=dict(optimizer=dict(type='Adam', lr=lr, betas=(0.5, 0.999))),
    # slower, or the discriminator wins at once and outweighs the distance from the target
    discriminator=dict(optimizer=dict(type='Adam', lr=lr / 5, betas=(0.5, 0.999))))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min=1e-5, by_epoch=True, convert_to_iter_based=True)
]
auto_scale_lr = dict(enable=False, base_batch_size=4)
randomness = dict(seed=0)
log_processor = dict(window_size=40)  # an epoch
default_hooks = dict(
    logger=dict(interval=40), checkpoint=dict(interval=8, max_keep_ckpts=1, save_best='MAE'))
