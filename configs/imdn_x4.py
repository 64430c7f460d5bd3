# IMDN x4 on DIV2K: patches of 192 x 192 pixels of the truth, Adam with 2e-4, halved every 200 of 1000 "epochs" of 1000
# steps (arXiv 1909.11856, section 4.2).
_base_ = [
    '_base_/models/imdn.py', '_base_/datasets/div2k_x4.py', '_base_/schedules/sr_1000k.py',
    '_base_/restoration_runtime.py'
]
custom_imports = dict(imports=['projects.runtime', 'projects.restoration'], allow_failed_imports=False)
model = dict(generator=dict(upscale_factor=4))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipelines.gt192}}))
optim_wrapper = dict(optimizer=dict(lr=2e-4))
