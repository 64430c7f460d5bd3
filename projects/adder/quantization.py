"""Post-training quantisation of adder networks: ranges from a few images, then integer layers.

* 'shared' (arXiv 2101.10015): one step a layer, s = max(max |x|, max |w|) / (2^(b-1) - 1), for both sides. The paper's
  code is not public; symmetric codes and the plain maximum are *inferred*.
* 'grouped' (arXiv 2212.10200; official code in mindspore-ai/models, research/cv/AdderQuant): filters are clustered by
  their largest magnitude (k-means); each group has a scale. Activations are clamped to a range r, the running maximum
  over batches of about the 99.94th percentile of |x|. A group whose filters reach beyond r is clamped to r and each
  filter gets the bias -sum relu(|w| - r), which for activations within the range changes nothing. The official code
  assumes activations >= 0 and gives them b unsigned bits, and filters b signed bits of twice the step. Where
  calibration saw negative activations (after a sum without ReLU, as in feature pyramids), both sides take signed codes
  of the filters' step: *inferred*.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import torch

from .layer import Adder2d
from .quant_layer import QuantAdder2d

SCHEMES = ('grouped', 'shared')
PERCENTILE = 0.9997
MIN_RANGE = 1e-3  # floor of the activation range in the official code


@dataclass
class ActivationRange:
    """What calibration saw of one layer's input, over all calls."""

    largest: float = 0.  # of |x|
    clamped: float = MIN_RANGE  # largest, without the outliers of each call
    lowest: float = 0.

    def update(self, x):
        """Takes the input of one call, any shape."""
        size = x.detach().float().abs().flatten()
        self.largest = max(self.largest, size.max().item())
        self.clamped = max(self.clamped, size.kthvalue(_outlier_rank(len(size))).values.item())
        self.lowest = min(self.lowest, x.min().item())


def _outlier_rank(count):
    """1-based rank that the official code takes of ``count`` sorted values; it applies the percentile twice."""
    return int((round(count * PERCENTILE) - 1) * PERCENTILE) + 1


def adder_layers(model):
    """Name and module of every adder layer of ``model``."""
    return {name: module for name, module in model.named_modules() if isinstance(module, Adder2d)}


@contextmanager
def calibrate(model):
    """Watches the adder layers of ``model`` while the caller runs it; yields {name: :class:`ActivationRange`}."""
    ranges = {name: ActivationRange() for name in adder_layers(model)}
    seen = {}

    def watch(name):
        def hook(module, args):
            seen[name] = ranges[name]
            ranges[name].update(args[0])
        return hook

    handles = [module.register_forward_pre_hook(watch(name)) for name, module in adder_layers(model).items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def shared_scale(weight, seen, bits):
    """Buffers of a layer under the shared scheme: (codes, steps, scale_index, signed, bias)."""
    top = 2 ** (bits - 1) - 1
    step = torch.tensor(max(seen.largest, weight.abs().max().item(), MIN_RANGE) / top)
    codes = (weight / step).round().clamp(-top, top)
    return codes, step[None], torch.zeros(len(weight), dtype=torch.long), True, torch.zeros(len(weight))


def grouped_scales(weight, seen, bits, num_scales):
    """Buffers of a layer under the grouped scheme: (codes, steps, scale_index, signed, bias)."""
    signed, limit = seen.lowest < 0, seen.clamped
    largest = weight.abs().amax((1, 2, 3))
    groups = _cluster(largest, num_scales)
    scales = torch.tensor([max(largest[groups == g].max().item(), MIN_RANGE) if (groups == g).any() else 1.
                           for g in range(num_scales)]).clamp_max(limit)
    reach = scales[groups][:, None, None, None]
    bias = -(weight.abs() - reach).relu().sum((1, 2, 3))
    filter_steps = 2 * scales / (2 ** bits - 1)
    codes = (weight.clamp(-reach, reach) / filter_steps[groups][:, None, None, None]).round()
    codes = codes.clamp(-2 ** (bits - 1), 2 ** (bits - 1) - 1)
    return codes, filter_steps if signed else filter_steps / 2, groups, signed, bias


def _cluster(values, count):
    """Group of each of the 1-D ``values``, by k-means++; as many groups as there are distinct values, if fewer."""
    from sklearn.cluster import KMeans
    count = min(count, len(values.unique()))
    labels = KMeans(count, max_iter=300, n_init=10, random_state=0).fit_predict(values.double().numpy()[:, None])
    return torch.from_numpy(labels).long()


def quantize_layer(layer, seen, scheme='grouped', bits=8, num_scales=4):
    """The integer layer of an :class:`Adder2d`.

    Args:
        layer (Adder2d): trained layer.
        seen (ActivationRange): of its input.
        scheme (str): 'grouped' or 'shared'.
        bits (int): 2 to 8.
        num_scales (int): groups of the grouped scheme; 4 in the official code.

    Raises:
        ValueError: an unknown scheme, or values that no step can hold.
    """
    if scheme not in SCHEMES:
        raise ValueError(f'quantize: scheme={scheme!r}, expected one of {SCHEMES}')
    weight = layer.weight.detach().float().cpu()
    if not weight.isfinite().all() or not seen.largest < float('inf'):
        raise ValueError('quantize: weights or activations of the layer are not finite')
    quant = QuantAdder2d(layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding,
                         layer.dilation, bits=bits, num_scales=num_scales if scheme == 'grouped' else 1)
    buffers = grouped_scales(weight, seen, bits, num_scales) if scheme == 'grouped' else shared_scale(
        weight, seen, bits)
    if layer.bias is not None:
        buffers = (*buffers[:4], buffers[4] + layer.bias.detach().float().cpu())
    for name, value in zip(('codes', 'steps', 'scale_index', 'signed', 'bias'), buffers, strict=True):
        getattr(quant, name).copy_(torch.as_tensor(value))
    return quant.to(layer.weight.device).train(layer.training)


def quantize(model, ranges, scheme='grouped', bits=8, num_scales=4):
    """Replaces every adder layer of ``model``, in place, by its integer counterpart.

    Args:
        model (nn.Module): trained, with :class:`Adder2d` layers.
        ranges (dict[str, ActivationRange]): from :func:`calibrate`.
        scheme, bits, num_scales: see :func:`quantize_layer`.

    Raises:
        ValueError: a model without adder layers, or a layer that calibration never reached.
    """
    layers = adder_layers(model)
    missing = sorted(layers.keys() - ranges.keys())
    if not layers or missing:
        raise ValueError('quantize: the model has no adder layer' if not layers else
                         f'quantize: calibration never ran {", ".join(missing[:5])} ({len(missing)} of {len(layers)} '
                         'adder layers); run the model on at least one batch within `calibrate`')
    for name, layer in layers.items():
        parent, _, attribute = name.rpartition('.')
        try:
            quant = quantize_layer(layer, ranges[name], scheme, bits, num_scales)
        except ValueError as error:
            raise ValueError(f'{name}: {error}') from None
        setattr(model.get_submodule(parent), attribute, quant)
