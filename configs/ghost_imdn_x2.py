# Ghost IMDN x2 on DIV2K: half of the maps of each block's first three layers are shifted copies (arXiv 2101.08525, v2).
_base_ = 'imdn_x2.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.restoration', 'projects.ghost_sr'], allow_failed_imports=False)
model = dict(generator=dict(type='GhostIMDN'))
custom_hooks = [dict(type='GhostShiftEpochHook', epoch_length=50)]  # 800 images in batches of 16
