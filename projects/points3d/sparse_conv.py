"""Sparse 3D convolutions as layers: the part of spconv 2's interface that a sparse U-Net needs.

Weights lie as in spconv 2, (out, kx, ky, kz, in), with its initialisation, so that checkpoints go from one to the
other.
Departures:

- 1x1 convolutions are :class:`Linear1x1`. spconv reads the weight of its own 1x1 layer as (in, out) although it is
  stored as (out, 1, 1, 1, in) (its issues 450 and 772), which no other engine reproduces.
- A rulebook that is found under ``indice_key`` is compared with the layer and the voxels. spconv takes it unseen.
- No dilation and no groups. A ``padding`` that a sub-manifold layer cannot have is refused; spconv ignores it.
"""

import math
from collections import OrderedDict

import torch
from torch import nn

from . import spconv_backend
from .gather_gemm import gather_gemm
from .rulebook import Rulebook, strided, submanifold
from .sparse_tensor import SparseTensor, triple

BACKENDS = ('auto', 'spconv', 'torch')


class SparseModule(nn.Module):
    """A module that takes and returns a :class:`SparseTensor`; :class:`SparseSequential` gives all others features."""


class SparseSequential(SparseModule, nn.Sequential):
    """Modules in a row; those that are no :class:`SparseModule` are applied to the features (N, C).

    Args:
        *modules (nn.Module or OrderedDict): as of :class:`torch.nn.Sequential`.
    """

    def forward(self, tensor):
        for module in self:
            if isinstance(module, SparseModule):
                tensor = module(tensor)
            else:
                tensor = tensor.replace_feature(module(tensor.features))
        return tensor


class _Weighted(SparseModule):
    """Weight, bias and their initialisation: uniform within 1 / sqrt(in_channels * kernel volume)."""

    def __init__(self, in_channels, out_channels, kernel_size, bias):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = triple(kernel_size, f'{type(self).__name__}: kernel_size', least=1)
        self.weight = nn.Parameter(torch.empty(out_channels, *self.kernel_size, in_channels))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self):
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.in_channels * math.prod(self.kernel_size))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def _check(self, tensor):
        name = type(self).__name__
        if not isinstance(tensor, SparseTensor):
            raise TypeError(f'{name}: expected a SparseTensor, got {type(tensor).__name__}')
        if tensor.features.shape[1] != self.in_channels:
            raise ValueError(f'{name}: {tensor.features.shape[1]} channels of features, expected '
                             f'in_channels={self.in_channels}')

    def _biased(self, features):
        return features if self.bias is None else features + self.bias

    def extra_repr(self):
        return f'{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, bias={self.bias is not None}'


class Linear1x1(_Weighted):
    """A 1x1 convolution: a linear layer on features, features @ weight.view(out, in)^T.

    Args:
        in_channels, out_channels (int): channels.
        bias (bool): add a bias.
    """

    def __init__(self, in_channels, out_channels, *, bias=True):
        super().__init__(in_channels, out_channels, 1, bias)

    def forward(self, tensor):
        self._check(tensor)
        weight = self.weight.view(self.out_channels, self.in_channels)
        return tensor.replace_feature(nn.functional.linear(tensor.features, weight, self.bias))


class _SparseConv(_Weighted):
    """What the three convolutions share: the choice of the back end and the cache of rulebooks."""

    def __init__(self, in_channels, out_channels, kernel_size, bias, indice_key, backend):
        if backend not in BACKENDS:
            raise ValueError(f'{type(self).__name__}: backend={backend!r}, expected one of {BACKENDS}')
        super().__init__(in_channels, out_channels, kernel_size, bias)
        self.indice_key, self.backend = indice_key, backend

    def forward(self, tensor):
        self._check(tensor)
        if spconv_backend.selected(self.backend, tensor.features):
            return self._with_bias(spconv_backend.forward(self, tensor))
        return self._with_bias(self._compute(tensor))

    def _with_bias(self, tensor):
        return tensor if self.bias is None else tensor.replace_feature(self._biased(tensor.features))

    def _rulebook(self, tensor, kind, geometry, build):
        """The rulebook of `indice_key`, built at its first use."""
        rulebook = tensor.indice_dict.get(self.indice_key) if self.indice_key is not None else None
        if rulebook is None:
            rulebook = build()
            if self.indice_key is not None:
                tensor.indice_dict[self.indice_key] = rulebook
        self._check_rulebook(rulebook, kind)
        if rulebook.geometry != geometry or not _same_voxels(rulebook.in_indices, rulebook.in_shape, tensor):
            raise ValueError(
                f'{type(self).__name__}: the rulebook of indice_key={self.indice_key!r} was made for kernel, stride '
                f'and padding {rulebook.geometry} on {len(rulebook.in_indices)} voxels in {rulebook.in_shape}; here '
                f'they are {geometry} on {len(tensor.indices)} voxels in {tensor.spatial_shape}. Give this layer a key '
                'of its own')
        return rulebook

    def _check_rulebook(self, rulebook, kind):
        if not isinstance(rulebook, Rulebook):
            raise ValueError(f'{type(self).__name__}: the rulebook of indice_key={self.indice_key!r} was made by '
                             "spconv; all layers of one tensor need the same backend ('spconv' or 'torch')")
        if rulebook.kind != kind:
            raise ValueError(f'{type(self).__name__}: the rulebook of indice_key={self.indice_key!r} is '
                             f'{rulebook.kind}, expected a {kind} one; give this layer a key of its own')


def _same_voxels(indices, shape, tensor):
    return shape == tensor.spatial_shape and (indices is tensor.indices or torch.equal(indices, tensor.indices))


class SubMConv3d(_SparseConv):
    """Sub-manifold convolution (arXiv 1711.10275): outputs are at the voxels of the input and nowhere else.

    Args:
        in_channels, out_channels (int): channels.
        kernel_size (int or tuple[int, int, int]): odd.
        padding (int or tuple[int, int, int]): 0 or kernel_size // 2, which are the same thing here, as in spconv.
        bias (bool): add a bias.
        indice_key (str, optional): layers of the same key on the same voxels share one rulebook.
        backend (str): 'auto': spconv where it can be imported and the tensor is on a GPU, else torch; 'spconv';
            'torch'.

    Raises:
        ValueError: an even kernel, another padding or back end; on call, voxels that do not fit the rulebook of the
            key, or that stand twice.
    """

    def __init__(self, in_channels, out_channels, kernel_size, *, padding=0, bias=True, indice_key=None,
                 backend='auto'):
        super().__init__(in_channels, out_channels, kernel_size, bias, indice_key, backend)
        self.padding = tuple(k // 2 for k in self.kernel_size)
        if any(k % 2 == 0 for k in self.kernel_size):
            raise ValueError(f'SubMConv3d: kernel_size={self.kernel_size}, expected odd numbers')
        if triple(padding, 'SubMConv3d: padding', least=0) not in ((0, 0, 0), self.padding):
            raise ValueError(f'SubMConv3d: padding={padding!r}, expected {self.padding} (or 0): its outputs are at the '
                             "input's voxels")
        self.stride = 1, 1, 1

    def _compute(self, tensor):
        geometry = self.kernel_size, self.stride, self.padding
        book = self._rulebook(tensor, 'submanifold', geometry, lambda: submanifold(tensor, self.kernel_size))
        return tensor.replace_feature(gather_gemm(tensor.features, self.weight, book.forward, book.backward))


class SparseConv3d(_SparseConv):
    """Convolution whose outputs are all cells that an input voxel reaches.

    Args:
        in_channels, out_channels (int): channels.
        kernel_size, stride, padding (int or tuple[int, int, int]): as of :class:`torch.nn.Conv3d`.
        bias (bool): add a bias to the cells that are reached.
        indice_key (str, optional): under which a :class:`SparseInverseConv3d` finds the rulebook.
        backend (str): see :class:`SubMConv3d`.

    The output's shape is floor((in + 2 padding - kernel) / stride) + 1 along each axis; what lies beyond the last
    stride has no output. The order of its voxels is [batch item, x, y, z], rising (spconv's is undefined).

    Raises:
        ValueError: geometry or back end that do not exist, or a kernel larger than the padded grid.
    """

    def __init__(self, in_channels, out_channels, kernel_size, *, stride=1, padding=0, bias=True, indice_key=None,
                 backend='auto'):
        super().__init__(in_channels, out_channels, kernel_size, bias, indice_key, backend)
        self.stride = triple(stride, 'SparseConv3d: stride', least=1)
        self.padding = triple(padding, 'SparseConv3d: padding', least=0)

    def _compute(self, tensor):
        geometry = self.kernel_size, self.stride, self.padding
        book = self._rulebook(tensor, 'strided', geometry, lambda: strided(tensor, *geometry))
        features = gather_gemm(tensor.features, self.weight, book.forward, book.backward)
        return SparseTensor._derived(features, book.out_indices, book.out_shape, tensor.batch_size,
                                     tensor.indice_dict)


class SparseInverseConv3d(_SparseConv):
    """The way back of the :class:`SparseConv3d` with the same `indice_key`: to its voxels, shape and order.

    Args:
        in_channels, out_channels (int): channels.
        kernel_size (int or tuple[int, int, int]): that of the strided layer.
        indice_key (str): that of the strided layer.
        bias (bool): add a bias.
        backend (str): see :class:`SubMConv3d`.

    Voxels that the strided layer left out have zeros here (before the bias).

    Raises:
        ValueError: on call, if there is no such rulebook or it does not fit.
    """

    def __init__(self, in_channels, out_channels, kernel_size, *, indice_key, bias=True, backend='auto'):
        super().__init__(in_channels, out_channels, kernel_size, bias, indice_key, backend)

    def _compute(self, tensor):
        book = tensor.indice_dict.get(self.indice_key)
        if book is None:
            raise ValueError(f'SparseInverseConv3d: no rulebook under indice_key={self.indice_key!r}, only '
                             f'{sorted(map(str, tensor.indice_dict))}; a SparseConv3d with that key must come first')
        self._check_rulebook(book, 'strided')
        if book.geometry[0] != self.kernel_size or not _same_voxels(book.out_indices, book.out_shape, tensor):
            raise ValueError(
                f'SparseInverseConv3d: indice_key={self.indice_key!r} belongs to a kernel {book.geometry[0]} with '
                f'{len(book.out_indices)} outputs in {book.out_shape}; here it is {self.kernel_size} with '
                f'{len(tensor.indices)} voxels in {tensor.spatial_shape}')
        features = gather_gemm(tensor.features, self.weight, book.backward, book.forward)
        return SparseTensor._derived(features, book.in_indices, book.in_shape, tensor.batch_size, tensor.indice_dict)


def named(**modules):
    """A :class:`SparseSequential` whose parts have names."""
    return SparseSequential(OrderedDict(modules))
