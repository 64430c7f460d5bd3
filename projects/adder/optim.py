"""Optimiser side of adder layers: the adaptive factor once per step, and clipping that leaves their filters out.

The official code scales the filter gradient inside backward (arXiv 1912.13200, eq. 13). That is right for a layer
that is called once per step in float32. It is not what one wants when

* a loss scaler divides gradients afterwards (AMP): the normalised gradient is divided as well;
* gradients accumulate over several backward passes, or one layer serves several pyramid levels: every call adds a
  gradient of full norm, and the sum is not normalised.

There the layer returns its raw gradient and the factor is applied just before the update: after unscaling, after the
all-reduce, once. And everywhere: an adder ResNet-50's filters have a gradient norm near 1000 by construction,
so clipping by global norm would shrink all other gradients with them.
"""

import torch
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper, DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS

from .functional import adaptive_gradient
from .layer import Adder2d

MODES = ('auto', 'backward', 'optimizer')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class AdderOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's default constructor for models that may contain adder layers.

    ``paramwise_cfg`` takes one more key, ``adder_adaptive_lr``: 'backward' or 'optimizer' as in
    :class:`Adder2d`, or 'auto' (default), which keeps each layer's own choice but goes to 'optimizer' under AMP and
    gradient accumulation. Layers with ``adaptive_lr=None`` stay raw. ``clip_grad`` ignores adder filters.

    Raises:
        ValueError: ``adder_adaptive_lr`` is none of these.
    """

    def _validate_cfg(self):
        # mmengine treats a non-empty paramwise_cfg as a request for one parameter group per parameter
        self.paramwise_cfg = dict(self.paramwise_cfg)
        self.mode = self.paramwise_cfg.pop('adder_adaptive_lr', 'auto')
        if self.mode not in MODES:
            raise ValueError(f'optim_wrapper.paramwise_cfg.adder_adaptive_lr={self.mode!r}, expected one of {MODES}')
        super()._validate_cfg()

    def __call__(self, model):
        wrapper = super().__call__(model)
        layers = [m for m in model.modules() if isinstance(m, Adder2d) and m.adaptive_lr is not None]
        mode = self.mode
        if mode == 'auto' and layers and (isinstance(wrapper, AmpOptimWrapper) or wrapper._accumulative_counts > 1):
            mode = 'optimizer'
            print_log('AMP or gradient accumulation: the adaptive factor of adder layers is applied in the optimiser '
                      'step instead of backward', logger='current')
        if mode != 'auto':
            for layer in layers:
                layer.adaptive_lr = mode
        scaled = [layer for layer in layers if layer.adaptive_lr == 'optimizer']
        if scaled:
            wrapper.optimizer.register_step_pre_hook(_AdaptiveStep(scaled))
        if wrapper.clip_grad_kwargs:
            filters = {id(m.weight) for m in model.modules() if isinstance(m, Adder2d)}
            wrapper.clip_func = _ClipOthers(wrapper.clip_func, filters)
        return wrapper


class _AdaptiveStep:
    """Step pre-hook: scales the raw filter gradients. GradScaler has unscaled them by then."""

    def __init__(self, layers):
        self.layers = layers

    @torch.no_grad()
    def __call__(self, optimizer, args, kwargs):
        for layer in self.layers:
            if layer.weight.grad is not None:
                layer.weight.grad = adaptive_gradient(layer.weight.grad, layer.eta)


class _ClipOthers:
    """A clipping function of ``torch.nn.utils`` for all parameters but the adder filters."""

    def __init__(self, clip, filters):
        self.clip, self.filters = clip, filters

    def __call__(self, parameters, **kwargs):
        return self.clip([p for p in parameters if id(p) not in self.filters], **kwargs)
