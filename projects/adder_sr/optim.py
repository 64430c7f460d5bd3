"""Two parameter groups for AdderSR: adder filters learn with a rate of their own.

The one line of the paper (arXiv 2009.08891) that could be read starts the two kinds of layer at 3e-3 and 3e-4.
*Inferred*: the larger rate is the adder layers', and everything that is no adder filter belongs to the other group.
"""

from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS

from projects.adder import Adder2d, AdderOptimWrapperConstructor

from .power_activation import PowerActivation


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class AdderSROptimWrapperConstructor(AdderOptimWrapperConstructor):
    """Groups parameters by their options: the optimiser's `lr` for most, `adder_lr_mult` times it for adder filters.

    `paramwise_cfg` takes `adder_lr_mult` (10 by default) beside the keys of :class:`AdderOptimWrapperConstructor` and
    mmengine's. The exponents of power activations have no weight decay, which would pull them from the identity to the
    constant; with decay there are three groups. The model's other layers come first, so the logged `lr` is theirs.

    Raises:
        ValueError: `adder_lr_mult` is no positive number.
    """

    def _validate_cfg(self):
        super()._validate_cfg()
        self.adder_lr_mult = self.paramwise_cfg.setdefault('adder_lr_mult', 10.)
        if not self.adder_lr_mult > 0:
            raise ValueError(f'optim_wrapper.paramwise_cfg.adder_lr_mult={self.adder_lr_mult!r}, expected a positive '
                             'number')

    def add_params(self, params, module, prefix='', is_dcn_module=None):
        """Append the parameter groups of `module` to `params`; for the whole model (no prefix) in few groups."""
        first = len(params)
        super().add_params(params, module, prefix, is_dcn_module)
        for group in params[first:]:
            if isinstance(module, Adder2d) and group['params'][0] is module.weight:
                group['lr'] = group.get('lr', self.base_lr) * self.adder_lr_mult
            elif isinstance(module, PowerActivation) and self.base_wd:
                group['weight_decay'] = 0.
        if not prefix:
            params[first:] = _merged(params[first:])


def _merged(groups):
    """The groups with equal options made one, in the order of their first parameters."""
    merged = {}
    for group in groups:
        options = {key: value for key, value in group.items() if key != 'params'}
        merged.setdefault(repr(sorted(options.items())), dict(options, params=[]))['params'] += group['params']
    return list(merged.values())
