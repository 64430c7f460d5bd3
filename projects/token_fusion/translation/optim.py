"""One optimiser for each network of an adversarial model."""

from __future__ import annotations

from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict, build_optim_wrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from projects.runtime.errors import ConfigError

NETWORKS = ('generator', 'discriminator')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class AdversarialOptimWrapperConstructor:
    """Builds an ``OptimWrapperDict`` of ``generator`` and ``discriminator``.

    Args:
        optim_wrapper_cfg: ``generator`` and ``discriminator``, an optimiser wrapper each; other keys (``type`` or
            ``loss_scale``, which ``--amp`` sets) hold for both.
        paramwise_cfg: Must be left out; each network's wrapper may have one.

    Raises:
        ConfigError: a network has no wrapper.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        absent = [name for name in NETWORKS if name not in optim_wrapper_cfg]
        if absent or paramwise_cfg:
            raise ConfigError(f'optim_wrapper: expected {" and ".join(NETWORKS)} with an optimizer each, and '
                              f'paramwise_cfg within them; {", ".join(absent) or "paramwise_cfg"} is amiss')
        shared = {key: value for key, value in optim_wrapper_cfg.items() if key not in NETWORKS}
        self.wrappers = {name: shared | dict(optim_wrapper_cfg[name]) for name in NETWORKS}

    def __call__(self, model: nn.Module) -> OptimWrapperDict:
        """The wrappers of a ``TokenFusionTranslator``, which may be wrapped."""
        if is_model_wrapper(model):
            model = model.module
        return OptimWrapperDict(**{name: build_optim_wrapper(getattr(model, name), dict(cfg))
                                   for name, cfg in self.wrappers.items()})
