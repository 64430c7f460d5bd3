# IPT for Gaussian noise of sigma 50: one task of the pre-trained network, fine-tuned on DIV2K. 8 GPUs with 32 patches
# each; about `load_from` see ipt_sr_x2.py.
_base_ = [
    '_base_/models/ipt.py', '_base_/datasets/denoise_s30_s50.py', '_base_/schedules/ipt_finetune.py',
    '_base_/restoration_runtime.py'
]
custom_imports = dict(imports=['projects.runtime', 'projects.ipt'], allow_failed_imports=False)
load_from = 'work_dirs/ipt_pretrain/epoch_300.pth'
model = dict(generator=dict(tasks=['denoise_s50']))
train_dataloader = {{_base_.s50.train_dataloader}}
test_dataloader = {{_base_.s50.test_dataloader}}
val_dataloader = {{_base_.s50.val_dataloader}}
clean = s30 = s50 = None  # what was not taken
default_hooks = dict(checkpoint=dict(save_best='CBSD68/PSNR'))
