# IPT for super-resolution x4: one task of the pre-trained network, fine-tuned on DIV2K. See ipt_sr_x2.py.
_base_ = [
    '_base_/models/ipt.py', '_base_/datasets/div2k_x4.py', '_base_/schedules/ipt_finetune.py',
    '_base_/restoration_runtime.py'
]
custom_imports = dict(imports=['projects.runtime', 'projects.ipt'], allow_failed_imports=False)
load_from = 'work_dirs/ipt_pretrain/epoch_300.pth'
model = dict(generator=dict(tasks=['sr_x4']))
train_dataloader = dict(batch_size={{_base_.batch_size}})
