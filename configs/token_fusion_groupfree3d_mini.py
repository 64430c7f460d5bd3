# A small TokenFusion of Group-Free-3D on drawn rooms, for one CPU core and a few minutes. It shows that everything
# works; its AP says nothing about SUN RGB-D. Baselines: --cfg-options model.fusion_mode=none (points alone) or =concat.
_base_ = [
    '_base_/models/token_fusion_groupfree3d_ti.py', '_base_/datasets/mini_rooms_3d.py',
    '_base_/schedules/groupfree3d_600e.py'
]
custom_imports = dict(imports=['projects.runtime', 'projects.token_fusion.detection3d'], allow_failed_imports=False)

# ---- what you change first
max_epochs = 16
lr = 2e-3

# ---- what you change sometimes
channels, image_channels = 64, 64
attention = dict(attn_cfgs=dict(embed_dims=channels, num_heads=4),
                 ffn_cfgs=dict(embed_dims=channels, feedforward_channels=2 * channels))
positions = dict(type='ConvBNPositionalEncoding', num_pos_feats=channels)
model = dict(
    image_loss_epochs=max_epochs,
    backbone=dict(
        num_points=(256, 128, 64, 32), radius=(0.25, 0.5, 1.0, 1.5), num_samples=(16, 16, 16, 8),
        sa_channels=((16, 16, 32), (32, 32, 64), (32, 32, 64), (32, 32, 64)), fp_channels=((64, 64), (64, channels))),
    bbox_head=dict(
        in_channels=channels, num_decoder_layers=2, num_proposal=48, transformerlayers=attention,
        decoder_self_posembeds=dict(input_channel=6, **positions),
        decoder_cross_posembeds=dict(input_channel=3, **positions),
        pred_layer_cfg=dict(in_channels=channels, shared_conv_channels=(channels, channels))),
    image_branch=dict(
        embed_dims=image_channels, depth=4, num_heads=2, patch_size=8, drop_path_rate=0.1, num_detection_tokens=20,
        table_size=(96, 128)),
    image_head=dict(embed_dims=image_channels),
    # nothing is pretrained: at 1e-3, without bias and at the rate of the other parts, every seed would be replaced
    # within two epochs
    exchange=dict(loss_weight=3e-5, keep_bias=2.))
train_dataloader = dict(batch_size=4)  # many small steps: the set is small and the minutes are few

# ---- what you hardly ever change
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(
    optimizer=dict(lr=lr, weight_decay=1e-4),
    clip_grad=dict(max_norm=1.0),
    # from random weights the image branch must learn as fast as the rest
    paramwise_cfg=dict(_delete_=True, custom_keys={
        'bbox_head.decoder_': dict(lr_mult=0.25), 'image_branch': dict(lr_mult=0.25),
        'exchange.projections': dict(lr_mult=0.25), 'exchange.score_nets': dict(lr_mult=0.1)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=20),
    dict(type='CosineAnnealingLR', T_max=max_epochs, eta_min=1e-5, by_epoch=True, begin=0, end=max_epochs,
         convert_to_iter_based=True)
]
randomness = dict(seed=0)
log_processor = dict(window_size=40)  # an epoch
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=max_epochs, max_keep_ckpts=1, save_best=None))
