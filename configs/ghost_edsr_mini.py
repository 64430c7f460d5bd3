# The ghost twin of edsr_mini.py: everything else is alike.
_base_ = 'edsr_mini.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.restoration', 'projects.ghost_sr'], allow_failed_imports=False)
model = dict(generator=dict(type='GhostEDSR'))
custom_hooks = [dict(type='GhostShiftEpochHook', epoch_length=2)]  # 32 images in batches of 16
