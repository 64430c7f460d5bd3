# 400 epochs of batches of 4 x 8: Group-Free-3D's rates for ScanNet. Those of the image branch are inferred: as for SUN
# RGB-D, 5e-5 with a weight decay of 1e-4.
_base_ = 'detection3d_runtime.py'
max_epochs = 400
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=25)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=6e-3, weight_decay=5e-4),
    clip_grad=dict(max_norm=0.1, norm_type=2),
    paramwise_cfg=dict(
        custom_keys={
            'bbox_head.decoder_': dict(lr_mult=0.1),
            'image_branch': dict(lr_mult=1 / 120, decay_mult=0.2),
            'exchange.projections': dict(lr_mult=1 / 120, decay_mult=0.2)
        }))
param_scheduler = [
    dict(type='MultiStepLR', begin=0, end=max_epochs, by_epoch=True, milestones=[280, 340], gamma=0.1)
]
auto_scale_lr = dict(enable=False, base_batch_size=32)
