# CARN x4 on DIV2K, a network for this scale alone: the recipe of carn.py, which the published weights come from.
_base_ = [
    '_base_/models/carn.py', '_base_/datasets/div2k_x4.py', '_base_/schedules/carn_600k.py',
    '_base_/restoration_runtime.py'
]
custom_imports = dict(imports=['projects.runtime', 'projects.restoration'], allow_failed_imports=False)
model = dict(generator=dict(upscale_factor=4))
train_dataloader = dict(batch_size=64, dataset=dict(pipeline={{_base_.train_pipelines.lq64}}))
