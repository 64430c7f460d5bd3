"""The numbers of the official AdderNet code (golden/adder), at the tolerances of its README."""

import numpy as np
import pytest
import torch
from torch import nn

from projects.adder import Adder2d, adder2d, native
from projects.adder.functional import adaptive_gradient

LAYERS = ['k1_s1_p0', 'k1_s2_p0', 'k3_s1_p0', 'k3_s1_p1', 'k3_s1_p1_bias', 'k3_s1_p1_largex', 'k3_s1_p1_relu_input',
          'k3_s1_p1_small', 'k3_s1_p1_tinygrad', 'k3_s1_p1_zerograd', 'k3_s2_p0', 'k3_s2_p1', 'k5_s1_p2',
          'k7_s2_p3_stem']
ISAS = native._native.supported_isas() if native.available() else []
PATHS = ['reference'] + [f'native-{isa}' for isa in ('avx512', 'avx2', 'portable')]


@pytest.fixture(params=PATHS)
def backend(request, monkeypatch):
    """A back end and, of the compiled one, each instruction set."""
    name, _, isa = request.param.partition('-')
    if name == 'native':
        if not native.available():
            pytest.skip(f'the compiled kernels are not built: {native.WHY_MISSING}')
        if isa not in ISAS:
            pytest.skip(f'this processor has no {isa}')
        monkeypatch.setenv('ADDER_CPU_ISA', isa)
    return name


def load(golden, name):
    return {key: torch.from_numpy(value) for key, value in np.load(golden / 'adder' / f'{name}.npz').items()}


def close(actual, expected, relative=1e-5, absolute=0.):
    limit = relative * expected.abs().max() + absolute
    error = (actual - expected).abs().max()
    assert error <= limit, f'largest error {error:.3g}, allowed {limit:.3g}'


def run(data, backend, **options):
    k, stride, padding, _ = data['meta_k_s_p_bias'].int().tolist()
    inputs = [data[name].clone().requires_grad_() if name in data else None for name in ('input', 'weight', 'bias')]
    output = adder2d(*inputs, stride, padding, backend=backend, **options)
    output.backward(data['grad_output'])
    return output.detach(), *(tensor.grad if tensor is not None else None for tensor in inputs)


@pytest.mark.parametrize('name', LAYERS)
def test_layer(golden, backend, name):
    data = load(golden, f'adder2d_{name}')
    absolute = 0. if 'tinygrad' in name else 1e-6
    output, grad_input, grad_weight, grad_bias = run(data, backend)
    close(output, data['output'])
    close(grad_input, data['grad_input'], absolute=absolute)
    close(grad_weight, data['grad_weight'], absolute=absolute)
    if 'bias' in data:
        close(grad_bias, data['grad_bias'], absolute=1e-6)
    _, grad_sign, raw, _ = run(data, backend, grad_input='sign', eta=None)
    close(grad_sign, data['grad_input_sign'], absolute=absolute)
    close(raw, data['grad_weight_raw'], absolute=absolute)
    if 'zerograd' in name:
        assert not grad_weight.any()
    else:
        assert grad_weight.norm() == pytest.approx(0.2 * grad_weight.numel()**0.5, rel=1e-4)


def test_one_layer_on_two_levels(golden, backend):
    """Official: each call's gradient is scaled, then they add up; the optimiser side scales the raw sum once."""
    data = load(golden, 'adder2d_shared_two_levels')

    def gradient(eta):
        weight = data['weight'].clone().requires_grad_()
        for level in 'ab':
            output = adder2d(data[f'input_{level}'], weight, None, 1, 1, eta=eta, backend=backend)
            close(output, data[f'output_{level}'])
            output.backward(data[f'grad_output_{level}'])
        return weight.grad

    close(gradient(0.2), data['grad_weight_per_call'], absolute=1e-6)
    close(gradient(None), data['grad_weight_raw_sum'], absolute=1e-6)
    close(adaptive_gradient(gradient(None), 0.2), data['grad_weight_joint'], absolute=1e-6)


def adder(*args, **kwargs):
    return Adder2d(*args, bias=False, **kwargs)


class Block(nn.Module):
    """The official residual blocks: BasicBlock (2 layers) or Bottleneck (3), with official parameter names."""

    def __init__(self, backend, inplanes, planes, stride, bottleneck):
        super().__init__()
        out = planes * 4 if bottleneck else planes
        shapes = ([(inplanes, planes, 1, 1), (planes, planes, 3, stride), (planes, out, 1, 1)] if bottleneck else
                  [(inplanes, planes, 3, stride), (planes, planes, 3, 1)])
        self.depth = len(shapes)
        for i, (cin, cout, kernel, step) in enumerate(shapes, 1):
            setattr(self, f'conv{i}', adder(cin, cout, kernel, step, kernel // 2, backend=backend))
            setattr(self, f'bn{i}', nn.BatchNorm2d(cout))
        self.downsample = None
        if stride != 1 or inplanes != out:
            self.downsample = nn.Sequential(adder(inplanes, out, 1, stride, backend=backend), nn.BatchNorm2d(out))

    def forward(self, x):
        y = x
        for i in range(1, self.depth + 1):
            y = getattr(self, f'bn{i}')(getattr(self, f'conv{i}')(y))
            if i < self.depth:
                y = y.relu()
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


@pytest.mark.parametrize('name, shape', [
    ('basicblock_identity', (8, 8, 1, False)), ('basicblock_stride2', (6, 10, 2, False)),
    ('bottleneck_identity', (16, 4, 1, True)), ('bottleneck_stride2', (8, 4, 2, True))])
def test_residual_block(golden, backend, name, shape):
    data = load(golden, name)
    block = Block(backend, *shape)
    state = {key[6:].replace('.adder', '.weight'): value for key, value in data.items() if key.startswith('param.')}
    missing = block.load_state_dict(state, strict=False)
    assert all(key.endswith('num_batches_tracked') for key in missing.missing_keys) and not missing.unexpected_keys
    near = dict(rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(block.eval()(data['input']).detach(), data['output_eval_before'], **near)
    x = data['input'].clone().requires_grad_()
    output = block.train()(x)
    torch.testing.assert_close(output.detach(), data['output_train'], **near)
    output.backward(data['grad_output'])
    close(x.grad, data['grad_input'], 1e-4, 1e-5)
    for key, value in data.items():
        kind, _, path = key.partition('.')
        if kind == 'grad':
            close(block.get_parameter(path.replace('.adder', '.weight')).grad, value, 1e-4, 1e-5)
        elif kind == 'after':
            torch.testing.assert_close(block.state_dict()[path].float(), value.float(), **near)
    torch.testing.assert_close(block.eval()(data['input']).detach(), data['output_eval_after'], **near)


class TinyNet(nn.Module):

    def __init__(self, backend):
        super().__init__()
        self.conv, self.bn0 = nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.add1, self.bn1 = adder(8, 10, 3, 2, 1, backend=backend), nn.BatchNorm2d(10)
        self.add2, self.bn2 = adder(10, 10, 1, backend=backend), nn.BatchNorm2d(10)
        self.fc, self.bn3 = nn.Conv2d(10, 5, 1, bias=False), nn.BatchNorm2d(5)

    def forward(self, x):
        for layer, norm in ((self.conv, self.bn0), (self.add1, self.bn1), (self.add2, self.bn2)):
            x = norm(layer(x)).relu()
        return self.bn3(self.fc(x.mean((2, 3), keepdim=True))).flatten(1)


def test_three_training_steps(golden, backend):
    """Fixes the order: adaptive factor, then weight decay, then momentum."""
    data = load(golden, 'tiny_train_3steps')
    net = TinyNet(backend)
    initial = {key[5:].replace('.adder', '.weight'): value for key, value in data.items() if key.startswith('init.')}
    net.load_state_dict(initial, strict=False)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    losses = []
    for step in range(3):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(data['input']), data['target'].long())
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            for key, value in data.items():
                if key.startswith('grad1.'):
                    grad = net.get_parameter(key[6:].replace('.adder', '.weight')).grad
                    torch.testing.assert_close(grad, value, rtol=0, atol=2e-4)
        optimizer.step()
    torch.testing.assert_close(torch.tensor(losses), data['losses'].flatten(), rtol=0, atol=1e-4)
    final = net.state_dict()
    for key, value in data.items():
        if key.startswith('final.') and not key.endswith('num_batches_tracked'):
            torch.testing.assert_close(final[key[6:].replace('.adder', '.weight')], value, rtol=0, atol=2e-4)
