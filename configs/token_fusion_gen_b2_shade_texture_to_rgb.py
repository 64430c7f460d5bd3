# TokenFusion (S: 20 encoder layers), shade and texture to RGB, Taskonomy: the released model's recipe. FID and KID need
# Inception weights:
#   --cfg-options val_evaluator.0.features.path=FILE test_evaluator.0.features.path=FILE
# Other sizes: model.generator.arch=b0 ... b5 (Ti is b1), model.discriminator.arch=b0 for the paper's appendix.
_base_ = ['_base_/datasets/taskonomy_256.py', '_base_/translation_runtime.py']
custom_imports = dict(imports=['projects.runtime', 'projects.token_fusion.translation'], allow_failed_imports=False)

# ---- what you change first
lr = 2e-4  # times the batch size, which is 1 (official code)
max_epochs = 300  # the default of the official code; its released model has 400

# ---- what you change sometimes
model = dict(
    type='TokenFusionTranslator',
    inputs=['reshading', 'edge_texture'],
    fusion='exchange',
    generator=dict(arch='b2', drop_path_rate=0.1),
    discriminator=dict(arch='b2'),
    l1_weight=100.,
    sparsity_weight=1e-3)  # official code; paper 1e-4

# ---- what you hardly ever change
val_evaluator = [
    # the file of StyleGAN's authors resizes by itself and takes 0..255
    dict(type='FeatureDistance', features=dict(type='TorchScriptFeatures', path=None, size=None, value_range=(0, 255),
                                               forward_args=dict(return_features=True))),
    dict(type='TranslationError')
]
test_evaluator = val_evaluator
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optimizer = dict(type='Adam', lr=lr, betas=(0.5, 0.999))
optim_wrapper = dict(
    constructor='AdversarialOptimWrapperConstructor',
    generator=dict(optimizer=optimizer),
    discriminator=dict(optimizer=optimizer))
auto_scale_lr = dict(enable=False, base_batch_size=1)
