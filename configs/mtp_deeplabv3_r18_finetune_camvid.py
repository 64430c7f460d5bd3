# Fine-tuning of what mtp_deeplabv3_r18_camvid.py pruned, on segmentation alone.
_base_ = 'deeplabv3_r18_camvid.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.seg_data', 'projects.seg_pruning'], allow_failed_imports=False)
max_iters = 80
model = dict(type='PrunedSegmentor', structure='work_dirs/mtp_deeplabv3_r18_camvid/pruned.json')
load_from = 'work_dirs/mtp_deeplabv3_r18_camvid/pruned.pth'
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=max_iters, by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval=max_iters))
