# Fine-tuning of IPT: 30 epochs at 2e-5 (arXiv 2012.00364, section 4.1) of 1000 steps (the released training code). The
# batch is that of pre-training, 256 patches on 8 GPUs (inferred); on other numbers add --auto-scale-lr.
max_iters = 30_000
batch_size = 32
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=5000)
val_cfg = dict(type='MultiValLoop')
test_cfg = dict(type='MultiTestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='Adam', lr=2e-5, betas=(0.9, 0.999), eps=1e-8),
    clip_grad=dict(max_norm=1.))  # of all gradients; the released code clips each tensor's to 1, the paper is silent
auto_scale_lr = dict(enable=False, base_batch_size=8 * batch_size)
