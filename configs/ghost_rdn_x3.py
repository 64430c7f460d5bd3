# Ghost RDN x3 on DIV2K: half of each dense layer's maps are shifted copies (arXiv 2101.08525).
_base_ = 'rdn_x3.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.restoration', 'projects.ghost_sr'], allow_failed_imports=False)
model = dict(generator=dict(type='GhostRDN'))
custom_hooks = [dict(type='GhostShiftEpochHook', epoch_length=50)]  # 800 images in batches of 16
