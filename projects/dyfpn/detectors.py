"""``DynamicDetector``: any mmdet detector, plus the resource losses of its dynamic necks in the loss dict.

mmdet's necks return features only. The official code of arXiv 2012.00779 (Mingjian-Zhu/DyFPN, ``flops_loss.py``, mmdet
2.3) adds the resource loss to the classification loss; numerically an entry ``loss_flops`` of its own is the same. It
is made within the detector's forward pass, so distributed wrappers, AMP and gradient accumulation treat it like every
other loss.
"""

from functools import cache

from mmdet.registry import MODELS

from .dyfpn import DyFPN


class ResourceLossMixin:
    """In front of a detector class: adds ``loss_flops``, the sum over the detector's ``DyFPN`` necks.

    Raises:
        ValueError: on construction, if the detector has no ``DyFPN``.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if not self._dynamic_necks():
            raise ValueError(f'{type(self).__name__}: the model has no DyFPN, so there is no resource loss. Use '
                             "neck=dict(type='DyFPN', ...), or the detector's own type")

    def _dynamic_necks(self):
        return [module for module in self.modules() if isinstance(module, DyFPN)]

    def loss(self, batch_inputs, batch_data_samples):
        """The detector's losses and, if a neck has one, ``loss_flops`` (scalar)."""
        necks = self._dynamic_necks()
        for neck in necks:
            neck.pop_loss()  # of a step that failed half-way, for example for lack of memory
        losses = super().loss(batch_inputs, batch_data_samples)
        terms = [term for term in (neck.pop_loss() for neck in necks) if term is not None]
        if terms:
            losses['loss_flops'] = sum(terms)
        return losses


@cache
def _with_resource_loss(detector):
    return type(f'Dynamic{detector.__name__}', (ResourceLossMixin, detector),
                dict(__module__=__name__, __doc__=f'{detector.__name__} with the resource loss of its DyFPN.'))


@MODELS.register_module()
def DynamicDetector(base, **kwargs):  # noqa: N802 - a type of the registry
    """Build a detector that reports the resource loss of its ``DyFPN``.

    ``model=dict(type='DynamicDetector', base='FasterRCNN', ...)``: the other keys are those of ``base``.

    Args:
        base (str): registered detector: 'FasterRCNN', 'RetinaNet', 'FCOS', or any other whose ``loss`` method is
            mmdet's, one-stage or two-stage.
        **kwargs: arguments of the detector. Parameters are named as in it.

    Returns:
        BaseDetector: instance of a subclass of ``base``.

    Raises:
        ValueError: no such detector, or it has no ``DyFPN``.
    """
    detector = MODELS.get(base)
    if detector is None:
        raise ValueError(f'model.base={base!r}: no such detector is registered. Expected the type that the model would '
                         "have without DyFPN, for example 'FasterRCNN'; plugins need their custom_imports")
    return _with_resource_loss(detector)(**kwargs)
