"""The Triton kernels of the adder layer: on a GPU, else in Triton's interpreter, and compiled for GPUs without one.

The interpreter must be chosen before Triton is imported, so `test_in_the_interpreter` runs this file once more in a
process of its own; the tests of values are skipped in the first process unless it has a GPU.
"""

import itertools
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from projects.adder import reference
from projects.adder import triton_kernels as kernels

DEVICE = 'cpu' if kernels.INTERPRETED else 'cuda'
needs_triton = pytest.mark.skipif(kernels.triton is None, reason='needs Triton')
needs_kernels = pytest.mark.skipif(not kernels.available(), reason=kernels.why_missing())
needs_gpu = pytest.mark.skipif(kernels.INTERPRETED or not kernels.available(),
                               reason=kernels.why_missing() or 'too large for the interpreter')
not_interpreted = pytest.mark.skipif(kernels.INTERPRETED, reason='the kernels are interpreted')
RULES = {'hardtanh': False, 'sign': True}


def tensors(n, c, size, t, kernel, stride, padding, dilation):
    """Input, weight and output gradient with zeros, and with input values equal to weights."""
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(n, c, *size, generator=generator), torch.randn(t, c, *kernel, generator=generator)
    x[x.abs() < 0.3] = 0
    w[w.abs() < 0.1] = 0
    x[0, :, 0, 0] = w[0, :, 0, 0]
    out = reference.output_size(size, kernel, stride, padding, dilation)
    return [tensor.to(DEVICE) for tensor in (x, w, torch.randn(n, t, *out, generator=generator))]


def results(x, w, g, *geometry, rules=RULES):
    return [kernels.forward(x, w, *geometry), *(kernels.grad_input(g, x, w, *geometry, RULES[rule]) for rule in rules)]


def assert_close(actual, expected, relative=2e-6, absolute=0.):
    error, limit = (actual.double() - expected).abs().max(), relative * expected.abs().max() + absolute
    assert error <= limit, f'largest error {error:.3g}, allowed {limit:.3g}'


def check_reference(shape, kernel, stride, padding, dilation, rules=RULES):
    n, c, *size, t = shape
    geometry = stride, padding, dilation
    x, w, g = tensors(n, c, size, t, kernel, *geometry)
    exact = [tensor.double() for tensor in (x, w, g)]
    expected = [reference.forward(*exact[:2], *geometry),
                *(reference.grad_input(exact[2], *exact[:2], *geometry, RULES[rule]) for rule in rules)]
    for a, b in zip(results(x, w, g, *geometry, rules=rules), expected, strict=True):
        assert_close(a, b)


@needs_kernels
@pytest.mark.parametrize('shape, kernel, stride, padding, dilation', [
    ((2, 8, 5, 6, 3), (1, 1), (1, 1), (0, 0), (1, 1)), ((1, 9, 6, 5, 4), (1, 1), (2, 2), (0, 0), (1, 1)),
    ((2, 3, 7, 5, 5), (3, 3), (1, 1), (1, 1), (1, 1)), ((1, 4, 6, 7, 3), (3, 3), (2, 2), (1, 1), (1, 1)),
    ((1, 2, 9, 7, 1), (3, 3), (2, 1), (0, 2), (1, 2)), ((1, 1, 7, 9, 2), (2, 3), (3, 2), (2, 1), (2, 2)),
    ((1, 1, 1, 1, 1), (1, 1), (1, 1), (0, 0), (1, 1)), ((1, 3, 6, 7, 2), (5, 5), (1, 1), (2, 2), (1, 1))], ids=str)
def test_agrees_with_the_reference(shape, kernel, stride, padding, dilation):
    """Within float32 rounding: odd channel counts, rectangles, strides that skip input, padding, dilation."""
    check_reference(shape, kernel, stride, padding, dilation)


@needs_kernels
def test_seven_by_seven():
    check_reference((1, 1, 8, 9, 2), (7, 7), (2, 2), (3, 3), (1, 1), rules=['sign'])


@needs_gpu
@pytest.mark.parametrize('shape, kernel, stride, padding, dilation', [
    ((2, 64, 56, 56, 64), (3, 3), (1, 1), (1, 1), (1, 1)), ((2, 67, 50, 37, 130), (3, 3), (2, 2), (1, 1), (1, 1)),
    ((3, 256, 25, 42, 200), (1, 1), (2, 2), (0, 0), (1, 1)), ((1, 3, 224, 160, 64), (7, 7), (2, 2), (3, 3), (1, 1)),
    ((1, 31, 40, 61, 48), (5, 5), (1, 1), (4, 4), (2, 2)), ((2, 512, 7, 7, 512), (3, 3), (1, 1), (1, 1), (1, 1))],
    ids=str)
def test_layers_of_real_size(shape, kernel, stride, padding, dilation):
    check_reference(shape, kernel, stride, padding, dilation)
    geometry = stride, padding, dilation
    n, c, *size, t = shape
    arguments = tensors(n, c, size, t, kernel, *geometry)
    once, again = results(*arguments, *geometry), results(*arguments, *geometry)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


GOLDEN = ['k1_s2_p0', 'k3_s1_p0', 'k3_s1_p1_small', 'k3_s1_p1_tinygrad']
GOLDEN_LARGER = ['k1_s1_p0', 'k3_s1_p1', 'k3_s1_p1_bias', 'k3_s1_p1_largex', 'k3_s1_p1_relu_input', 'k3_s1_p1_zerograd',
                 'k3_s2_p0', 'k3_s2_p1', 'k5_s1_p2', 'k7_s2_p3_stem']


@needs_kernels
@pytest.mark.parametrize('name', GOLDEN + [pytest.param(name, marks=needs_gpu) for name in GOLDEN_LARGER])
def test_official_numbers(golden, name):
    """Outputs and both input gradients of the official AdderNet code, at the tolerances of its README."""
    stored = np.load(golden / 'adder' / f'adder2d_{name}.npz')
    data = {key: torch.from_numpy(stored[key]).to(DEVICE) for key in stored}
    _, stride, padding, bias = data['meta_k_s_p_bias'].int().tolist()
    output, hardtanh, sign = results(data['input'], data['weight'], data['grad_output'], (stride, stride),
                                     (padding, padding), (1, 1))
    if bias:
        output = output + data['bias'][:, None, None]
    absolute = 0. if 'tinygrad' in name else 1e-6
    assert_close(output, data['output'], 1e-5)
    assert_close(hardtanh, data['grad_input'], 1e-5, absolute)
    assert_close(sign, data['grad_input_sign'], 1e-5, absolute)


ONE = (1, 1)


@needs_kernels
def test_memory_layout_does_not_matter():
    geometry = ONE, (0, 0), ONE
    x, w, _ = tensors(2, 5, (4, 5), 3, (1, 2), *geometry)
    g = torch.arange(2., 5., device=DEVICE)[:, None, None].expand(2, 3, 4, 4)
    expected = results(x, w, g.contiguous(), *geometry)
    wide = torch.zeros(2, 5, 4, 10, device=DEVICE)
    wide[..., ::2] = x
    last = torch.channels_last
    for other, filters in [(x.to(memory_format=last), w.to(memory_format=last)), (wide[..., ::2], w)]:
        assert not other.is_contiguous() and not g.is_contiguous()
        for a, b in zip(results(other, filters, g, *geometry), expected, strict=True):
            assert torch.equal(a, b)


@needs_kernels
def test_tiles_and_wide_offsets_do_not_change_a_bit(monkeypatch):
    """What tuning chooses is without effect on results; here several programs in both directions."""
    x, w, g = tensors(1, 9, (5, 6), 10, (1, 3), ONE, (0, 1), ONE)
    expected = results(x, w, g, ONE, (0, 1), ONE)
    monkeypatch.setattr(kernels, 'WIDE_FROM', 0)
    tiles = [kernels._Tile(1, 2, 8, 16, 4)] + ([] if kernels.INTERPRETED else kernels.FORWARD_TILES)
    for tile in tiles:
        monkeypatch.setattr(kernels, '_forward_tuned', kernels._tuned(kernels._forward_kernel, [tile]))
        monkeypatch.setattr(kernels, '_gradient_tuned', kernels._tuned(kernels._gradient_kernel, [tile]))
        for a, b in zip(results(x, w, g, ONE, (0, 1), ONE), expected, strict=True):
            assert torch.equal(a, b)


@needs_kernels
def test_bad_values_stay_visible():
    x, w, g = tensors(1, 4, (3, 4), 2, (1, 1), ONE, (0, 0), ONE)
    x[0, 1, 2, 2] = float('nan')
    output, gradient = results(x, w, g, ONE, (0, 0), ONE, rules=['hardtanh'])
    assert output.isnan().sum() == 2 and output[0, :, 2, 2].isnan().all()
    assert gradient.isnan().sum() == 1 and gradient[0, 1, 2, 2].isnan()


@needs_kernels
def test_empty_batch():
    x, w, g = tensors(1, 3, (5, 5), 4, (3, 3), ONE, ONE, ONE)
    shapes = [tuple(result.shape) for result in results(x[:0], w, g[:0], ONE, ONE, ONE)]
    assert shapes == [(0, 4, 5, 5), (0, 3, 5, 5), (0, 3, 5, 5)]


def test_unsuitable_tensors_are_refused():
    """Also without Triton: the message then says that it is missing."""
    x, w = torch.zeros(1, 2, 4, 4, dtype=torch.float64), torch.zeros(3, 2, 1, 1, dtype=torch.float64)
    expected = 'float64 on cpu' if kernels.available() else kernels.why_missing()
    with pytest.raises(ValueError, match=f"backend='triton'.*{expected}"):
        kernels.forward(x, w, ONE, (0, 0), ONE)


def test_residue_classes_hold_every_connection_once():
    """Together, the dense problems of all classes join each input row with each output row by the right tap."""
    for size, kernel, stride, padding, dilation in itertools.product((1, 2, 7), (1, 2, 3, 7), (1, 2, 3, 4), (0, 1, 3),
                                                                     (1, 2, 3)):
        rows = reference.output_size((size, ), (kernel, ), (stride, ), (padding, ), (dilation, ))[0]
        expected = sorted((y, i, o) for o in range(rows) for i in range(kernel)
                          if 0 <= (y := o * stride + i * dilation - padding) < size)
        found = [(r.first + u * stride, i, u + r.offset - m * r.step)
                 for r in kernels._residues(size, kernel, stride, padding, dilation)
                 for u in range(r.count) for m, i in enumerate(range(kernel)[r.taps])]
        assert sorted(entry for entry in found if 0 <= entry[2] < rows) == expected
        assert all(y < size for y, _, _ in found)


def test_packed_weights():
    """In the order in which a kernel reads them, in whole blocks and aligned rows; what is added is zero."""
    weight = torch.randn(6, 19, 2, 3)
    packed = kernels._packed(weight, 4)
    assert packed.shape == (2, 2, 3, 4, 32) and packed.is_contiguous()
    for depth, row, i, j in itertools.product(range(6), range(19), range(2), range(3)):
        assert packed[depth // 4, i, j, depth % 4, row] == weight[depth, row, i, j]
    assert packed.count_nonzero() == weight.count_nonzero()


@needs_triton
@not_interpreted
def test_in_the_interpreter():
    environment = os.environ | dict(TRITON_INTERPRET='1')
    run = subprocess.run([sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', __file__], text=True,
                         capture_output=True, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr
    assert ' passed' in run.stdout, run.stdout


@needs_triton
@not_interpreted
@pytest.mark.parametrize('capability, kernel, flags', [
    (80, 'forward', dict(TAIL=False, WIDE=False)), (80, 'gradient', dict(TAIL=False, WIDE=False, SIGN=False)),
    (90, 'forward', dict(TAIL=True, WIDE=True)), (90, 'gradient', dict(TAIL=True, WIDE=True, SIGN=True))])
def test_compiles(capability, kernel, flags, tmp_path, monkeypatch):
    """For GPUs of a generation, without one: loads run ahead into shared memory, nothing is summed by atomics."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    function = getattr(kernels, f'_{kernel}_kernel')
    tile = kernels.FORWARD_TILES[1] if kernel == 'forward' else kernels.GRADIENT_TILES[0]
    constants = flags | dict(BLOCK=4, C=tile.channels, P=tile.positions, CT=tile.channel_threads,
                             PT=tile.position_threads)
    names = function.arg_names
    signature = {name: 'constexpr' if name in constants else '*fp32' if name.endswith('_ptr') else 'i32'
                 for name in names}
    aligned = {(i, ): [['tt.divisibility', 16]] for i, name in enumerate(names) if name.endswith('_ptr')}
    constants = {(names.index(name), ): value for name, value in constants.items()}
    compiled = kernels.triton.compile(ASTSource(function, signature, constants, aligned),
                                      target=GPUTarget('cuda', capability, 32),
                                      options=dict(num_warps=tile.warps, enable_fp_fusion=False))
    code = compiled.asm['ptx']
    assert 'cp.async' in code and not re.search(r'\b(atom|red)\.', code)
    assert compiled.metadata.shared < 48 * 1024
