"""spconv is optional, imported late, and given our weights; here a stand-in with its interface takes its place."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from projects import points3d
from projects.points3d import (
    SparseConv3d,
    SparseInverseConv3d,
    SparseSequential,
    SparseTensor,
    SubMConv3d,
    spconv_backend,
)


def test_importing_loads_nothing_that_is_not_needed(root):
    """Neither spconv nor the libraries that this plugin floor does without."""
    code = ('import sys, projects.points3d; print([name for name in ("spconv", "mmdet3d", "mmengine", "mmcv", "numba") '
            'if name in sys.modules])')
    done = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'


def test_which_engine_is_chosen(monkeypatch):
    on_cpu, on_gpu = torch.zeros(1), SimpleNamespace(is_cuda=True, device='cuda:0')
    for loaded in (None, object()):
        monkeypatch.setattr(spconv_backend, 'load', lambda loaded=loaded: loaded)
        assert not spconv_backend.selected('auto', on_cpu) and not spconv_backend.selected('torch', on_gpu)
        assert spconv_backend.selected('auto', on_gpu) == (loaded is not None)
    assert spconv_backend.selected('spconv', on_gpu)
    monkeypatch.setattr(spconv_backend, 'load', lambda: None)
    with pytest.raises(ValueError, match='cannot be imported; install the wheel'):
        spconv_backend.selected('spconv', on_gpu)


def test_a_broken_installation_warns_and_is_left_alone(monkeypatch):
    spconv_backend.load.cache_clear()
    monkeypatch.setattr(spconv_backend.importlib.util, 'find_spec', lambda name: object())

    def broken(name):
        raise OSError('libcudart.so: cannot open shared object file')
    monkeypatch.setattr(spconv_backend.importlib, 'import_module', broken)
    with pytest.warns(UserWarning, match='libcudart.*plain torch'):
        assert spconv_backend.load() is None
    spconv_backend.load.cache_clear()


class StandIn:
    """Looks like ``spconv.pytorch``, computes with this package's own engine, and counts its calls."""

    def __init__(self):
        self.calls = calls = []

        class SparseConvTensor:
            def __init__(self, features, indices, spatial_shape, batch_size, indice_dict=None):
                assert indices.dtype == torch.int32 and isinstance(spatial_shape, list)
                self.inner = SparseTensor._derived(features, indices, spatial_shape, batch_size, indice_dict)

        def layer(ours):
            class Layer(nn.Module):
                def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, bias=True,
                             indice_key=None):
                    super().__init__()
                    extra = dict(stride=stride) if ours is SparseConv3d else {}
                    extra.update({} if ours is SparseInverseConv3d else dict(padding=padding))
                    self.inner = ours(in_channels, out_channels, kernel_size, bias=bias, indice_key=indice_key, **extra)
                    self.weight = nn.Parameter(torch.empty_like(self.inner.weight))

                def forward(self, tensor):
                    calls.append((ours.__name__, self.training))
                    self.inner.weight = self.weight
                    return self.inner._compute(tensor.inner)
            return Layer
        self.SparseConvTensor = SparseConvTensor
        self.SubMConv3d, self.SparseConv3d = layer(SubMConv3d), layer(SparseConv3d)
        self.SparseInverseConv3d = layer(SparseInverseConv3d)


def test_layers_hand_over_their_weights_and_take_back_gradients(make_sparse, monkeypatch):
    torch.manual_seed(0)
    layers = SparseSequential(SubMConv3d(3, 4, 3, padding=1, indice_key='a'),
                              SparseConv3d(4, 5, 2, stride=2, indice_key='b'),
                              SparseInverseConv3d(5, 3, 2, indice_key='b')).double()
    names = list(layers.state_dict())

    def run(training):
        layers.zero_grad()
        output = layers.train(training)(make_sparse()).features
        output.square().sum().backward()
        return [output, *(p.grad.clone() for p in layers.parameters())]
    expected, stand_in = run(True), StandIn()
    monkeypatch.setattr(spconv_backend, 'load', lambda: stand_in)
    monkeypatch.setattr(spconv_backend, 'selected', lambda backend, features: True)
    for training in (True, False):
        torch.testing.assert_close(run(training), expected)
        with torch.no_grad():
            layers[0].weight.mul_(2)  # an optimiser's step is seen by the next call
            layers[0].weight.mul_(0.5)
    assert stand_in.calls == [(name, training) for training in (True, False)
                              for name in ('SubMConv3d', 'SparseConv3d', 'SparseInverseConv3d')]
    assert list(layers.state_dict()) == names  # spconv's layers are no part of the model


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_spconv_equals_torch_on_a_gpu():
    if spconv_backend.load() is None:
        pytest.skip('needs spconv (pip install spconv-cu126)')
    torch.manual_seed(0)
    cells = torch.cartesian_prod(torch.arange(2), *(torch.arange(n) for n in (21, 18, 16)))
    indices = cells[torch.randperm(len(cells))[:3000]]
    nets = [points3d.SparseUNet(6, [16, 32, 48], backend=backend).cuda() for backend in ('torch', 'spconv')]
    nets[1].load_state_dict(nets[0].state_dict())
    features, outputs = torch.randn(3000, 6).cuda(), []
    for net in nets:
        outputs.append(net(SparseTensor(features, indices.cuda(), (21, 18, 16), 2)).features)
        outputs[-1].square().sum().backward()
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=2e-2)  # spconv may multiply in TF32
    for ours, theirs in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(theirs.grad, ours.grad, rtol=0, atol=2e-2 * ours.grad.abs().max().item())
