# Ghost CARN x2 on DIV2K: half of each residual unit's maps are shifted copies (arXiv 2101.08525).
_base_ = 'carn_x2.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.restoration', 'projects.ghost_sr'], allow_failed_imports=False)
model = dict(generator=dict(type='GhostCARN'))
custom_hooks = [dict(type='GhostShiftEpochHook', epoch_length=13)]  # 800 images in batches of 64
