"""What the tools and all configs share. Importing it does two things and nothing else:

- it allow-lists what mmengine stores in checkpoints for torch's `weights_only` check, so that
  mmengine can read what it wrote (`safe_globals`);
- it registers `AtomicCheckpointHook` and `CheckpointMatchHook` in mmengine's HOOKS, and the storage
  backend `atomic_local` that the former writes through.

Configs name it under `custom_imports`, so the stock tools of OpenMMLab's libraries profit as well.
It knows no method and imports none of mmdet, mmseg and mmdet3d.
"""

from .checkpoint_hooks import AtomicCheckpointHook, CheckpointMatchHook
from .safe_globals import allow_mmengine_globals

allow_mmengine_globals()

__all__ = ['AtomicCheckpointHook', 'CheckpointMatchHook']
