# The ghost twin of edsr_small_x2_t91.py: everything else is alike.
_base_ = 'edsr_small_x2_t91.py'
custom_imports = dict(
    imports=['projects.runtime', 'projects.restoration', 'projects.ghost_sr'], allow_failed_imports=False)
model = dict(generator=dict(type='GhostEDSR'))
custom_hooks = [dict(type='GhostShiftEpochHook', epoch_length=6)]  # 91 images in batches of 16
