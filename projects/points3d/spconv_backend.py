"""spconv 2 (https://github.com/traveller59/spconv) as the engine of the sparse layers on GPUs.

It is optional, and imported at the first tensor that asks for it, never before: mmdet3d registers layers under other
classes as soon as spconv can be imported. On the CPU it is refused: version 2.3.8 has no gradients there, and with more
than one thread its outputs are wrong.
"""

import functools
import importlib
import importlib.util
import warnings
import weakref

_TWINS = weakref.WeakKeyDictionary()
"""spconv's layer for each of ours; it borrows our weight and is no part of the model."""


@functools.cache
def load():
    """The module ``spconv.pytorch``, or None if it is not there or cannot be loaded (said once)."""
    if importlib.util.find_spec('spconv') is None:
        return None
    try:
        return importlib.import_module('spconv.pytorch')
    except (ImportError, OSError) as error:
        warnings.warn(f'spconv is installed but cannot be imported ({error}); sparse convolutions use plain torch, '
                      'several times slower on a GPU', stacklevel=2)
        return None


def selected(backend, features):
    """Whether spconv computes a layer.

    Args:
        backend (str): 'auto', 'spconv' or 'torch'.
        features (Tensor): whose device decides for 'auto'.

    Raises:
        ValueError: 'spconv' for a CPU tensor, or without spconv.
    """
    if backend == 'torch' or (backend == 'auto' and not features.is_cuda):
        return False
    if backend == 'auto':
        return load() is not None
    if not features.is_cuda:
        raise ValueError(f"backend='spconv' with a tensor on {features.device}: spconv is used on GPUs only, because "
                         "on the CPU it has no gradients and errs with several threads; use 'auto' or 'torch'")
    if load() is None:
        raise ValueError("backend='spconv': spconv cannot be imported; install the wheel of your CUDA version "
                         "(pip install spconv-cu126), or use 'auto' or 'torch'")
    return True


def _make_twin(layer):
    spconv = load()
    kind = getattr(spconv, type(layer).__name__)
    options = dict(bias=False, indice_key=layer.indice_key)
    if type(layer).__name__ != 'SparseInverseConv3d':
        options.update(stride=list(layer.stride), padding=list(layer.padding))
    return kind(layer.in_channels, layer.out_channels, list(layer.kernel_size), **options)


def forward(layer, tensor):
    """Output of one of our convolutions, computed by spconv without bias.

    Args:
        layer (SubMConv3d, SparseConv3d or SparseInverseConv3d): whose weight is used, and receives the gradient.
        tensor (SparseTensor): the input.

    Returns:
        SparseTensor: with spconv's order of voxels; spconv's rulebooks lie in the same ``indice_dict``.
    """
    if layer not in _TWINS:
        _TWINS[layer] = _make_twin(layer)
    twin = _TWINS[layer].train(layer.training)
    twin._parameters['weight'] = layer.weight
    theirs = load().SparseConvTensor(tensor.features, tensor.indices, list(tensor.spatial_shape), tensor.batch_size,
                                     indice_dict=tensor.indice_dict)
    output = twin(theirs)
    return type(tensor)._derived(output.features, output.indices, output.spatial_shape, tensor.batch_size,
                                 output.indice_dict)
