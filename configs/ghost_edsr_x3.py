# Ghost EDSR x3 on DIV2K: half of each trunk layer's maps are shifted copies (arXiv 2101.08525).
# From a trained EDSR: tools/model_converters/ghost_sr.py convert, then --cfg-options load_from=...
_base_ = 'edsr_x3.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.restoration', 'projects.ghost_sr'], allow_failed_imports=False)
model = dict(generator=dict(type='GhostEDSR'))
custom_hooks = [dict(type='GhostShiftEpochHook', epoch_length=50)]  # 800 images in batches of 16, released recipe
