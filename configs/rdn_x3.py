# RDN x3 on DIV2K: batches of 16 patches of 32 x 32 pixels, the rate halved every 200 "epochs" of 1000 steps
# (arXiv 1802.08797, section 5.1). For how long is not said; a million steps is mmagic's choice.
_base_ = [
    '_base_/models/rdn.py', '_base_/datasets/div2k_x3.py', '_base_/schedules/sr_1000k.py',
    '_base_/restoration_runtime.py'
]
custom_imports = dict(imports=['projects.runtime', 'projects.restoration'], allow_failed_imports=False)
model = dict(generator=dict(upscale_factor=3))
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipelines.lq32}}))
