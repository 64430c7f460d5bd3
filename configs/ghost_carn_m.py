# Ghost CARN-M for x2, x3 and x4 at once: half of each grouped layer's maps are shifted copies (arXiv 2101.08525).
_base_ = 'carn_m.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.restoration', 'projects.ghost_sr'], allow_failed_imports=False)
model = dict(generator=dict(type='GhostCARN'))
custom_hooks = [dict(type='GhostShiftEpochHook', epoch_length=13)]  # 800 images in batches of 64
