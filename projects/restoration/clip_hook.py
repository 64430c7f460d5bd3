"""Adjustable gradient clipping (arXiv 1511.04587, section 3.2)."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from projects.runtime.errors import ConfigError


@HOOKS.register_module()
class AdjustableClipHook(Hook):
    """Before each step, set the bound of gradient clipping to theta / learning rate.

    A high rate then takes steps of bounded length, and a low one is not slowed down.

    Args:
        theta (float): Bound of a step.

    Raises:
        ConfigError: `optim_wrapper` does not clip gradients.
    """

    priority = 'LOW'

    def __init__(self, theta):
        self.theta = theta

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        """Adjust the bound."""
        wrapper = runner.optim_wrapper
        if not wrapper.clip_grad_kwargs:
            raise ConfigError('AdjustableClipHook needs optim_wrapper.clip_grad, for example dict(max_norm=1.)')
        bound = 'clip_value' if 'clip_value' in wrapper.clip_grad_kwargs else 'max_norm'
        wrapper.clip_grad_kwargs[bound] = self.theta / wrapper.get_lr()['lr'][0]
