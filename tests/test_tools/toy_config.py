"""Trains `toy_task` and saves after every iteration, keeping one checkpoint."""

custom_imports = dict(imports=['projects.runtime', 'toy_task'], allow_failed_imports=False)
default_scope = 'mmengine'
model = dict(type='ToyModel', size=4_000_000)
train_dataloader = dict(
    batch_size=4, num_workers=0, collate_fn=dict(type='default_collate'),
    dataset=dict(type='ToyDataset'), sampler=dict(type='InfiniteSampler', shuffle=True))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1_000_000)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=1e-4, momentum=0.9))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=1))
randomness = dict(seed=0)
