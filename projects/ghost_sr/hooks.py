"""Noise decay and a record of the directions while a ghost network trains (arXiv 2101.08525)."""

from collections import Counter

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from projects.runtime.errors import ConfigError

from .ghost_conv import GhostConv2d


def ghost_directions(model):
    """Directions of all ghost layers: {name: [(dy, dx), ...]}, one for a layer or one for each ghost map."""
    return {name: m.offsets() for name, m in model.named_modules()
            if isinstance(m, GhostConv2d) and m.ghost_channels}


@HOOKS.register_module()
class GhostShiftEpochHook(Hook):
    """Tells ghost layers the epoch, by which their noise decays, and logs the directions before each validation.

    The released code decays the noise by epochs but never counts them; this hook does. An epoch is one of the training
    loop, or, in a loop over iterations, `epoch_length` of them.

    Args:
        epoch_length (int, optional): Iterations of an epoch. The released recipe has 50 (800 images in batches of 16).

    Raises:
        ConfigError: a loop over iterations and no `epoch_length`, or a model without ghost layers.
    """

    def __init__(self, epoch_length=None):
        self.epoch_length = epoch_length
        self.layers, self.last = [], {}

    def before_train(self, runner):
        self.layers = [m for m in runner.model.modules() if isinstance(m, GhostConv2d)]
        if not self.layers:
            raise ConfigError('custom_hooks: GhostShiftEpochHook found no GhostConv2d in the model: expected a ghost '
                              'network, for example model.generator.type=GhostEDSR; or leave the hook out')
        if self.epoch_length is None and runner.train_loop.max_epochs == 1:
            raise ConfigError('custom_hooks: GhostShiftEpochHook.epoch_length is not set, but the training counts '
                              'iterations: expected the iterations of an epoch, 50 in the released recipe')
        self.last = ghost_directions(runner.model)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        epoch = 1 + (runner.iter // self.epoch_length if self.epoch_length else runner.epoch)
        for layer in self.layers:
            layer.epoch = epoch

    def before_val(self, runner):
        now = ghost_directions(runner.model)
        counts = Counter(offset for offsets in now.values() for offset in offsets)
        changed = sum(offsets != self.last.get(name, offsets) for name, offsets in now.items())
        self.last = now
        if counts:
            text = ', '.join(f'({dy:+d}, {dx:+d}) x{count}' for (dy, dx), count in sorted(counts.items()))
            runner.logger.info(f'ghost directions (dy, dx): {text}; {changed} of {len(now)} layers changed since the '
                               'last report')
