"""The adder operator: back ends agree with the definition and with one another on every kind of input."""

import itertools
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from projects.adder import adder2d, native, reference
from projects.adder.functional import select_backend

ISAS = native._native.supported_isas() if native.available() else []
needs_native = pytest.mark.skipif(not native.available(), reason=f'compiled kernels not built: {native.WHY_MISSING}')


def definition(x, w, stride, padding, dilation):
    """-sum |x - w| with every difference written out, for tiny tensors only."""
    columns = F.unfold(x, w.shape[2:], dilation, padding, stride)
    output = -(columns[:, None] - w.flatten(1)[None, :, :, None]).abs().sum(2)
    return output.unflatten(2, reference.output_size(x.shape[2:], w.shape[2:], stride, padding, dilation))


def grads(x, w, g, backend, rule='hardtanh', **geometry):
    x, w = x.detach().clone().requires_grad_(), w.detach().clone().requires_grad_()
    y = adder2d(x, w, **geometry, grad_input=rule, eta=None, backend=backend)
    y.backward(g if g is not None else torch.ones_like(y))
    return y.detach(), x.grad, w.grad


GEOMETRIES = [dict(stride=s, padding=p, dilation=d) for s, p, d in [
    (1, 0, 1), (1, 1, 1), (2, 1, 1), ((2, 1), (0, 2), 1), (1, 2, 2), ((1, 3), 1, (2, 1)), (3, 0, 1), (2, 2, 2)]]


@pytest.mark.parametrize('geometry', GEOMETRIES, ids=str)
@pytest.mark.parametrize('kernel', [(1, 1), (3, 3), (2, 3)], ids=str)
def test_reference_is_the_definition(kernel, geometry, monkeypatch):
    monkeypatch.setattr(reference, 'MAX_COLUMN_ELEMENTS', 300)  # several strips
    torch.manual_seed(0)
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64, requires_grad=True)
    w = torch.randn(4, 3, *kernel, dtype=torch.float64)
    pairs = [value if isinstance(value, tuple) else (value, value) for value in geometry.values()]
    expected = definition(x, w, *pairs)
    y, gx, _ = grads(x, w, None, 'reference', 'sign', **geometry)
    torch.testing.assert_close(y, expected.detach())
    torch.testing.assert_close(gx, torch.autograd.grad(expected.sum(), x)[0])


def test_sign_rule_is_the_derivative():
    torch.manual_seed(0)
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    w = torch.randn(3, 2, 3, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: adder2d(x, w, None, 2, 1, grad_input='sign', backend='reference'), (x,))


SHAPES = [(1, 1, 1, 1, 1), (2, 3, 7, 5, 4), (1, 17, 13, 11, 19), (3, 32, 6, 6, 13), (1, 300, 5, 5, 7),
          (1, 5, 40, 33, 70)]


@needs_native
@pytest.mark.parametrize('isa', ['avx512', 'avx2', 'portable'])
@pytest.mark.parametrize('n, c, h, w, t', SHAPES)
def test_compiled_kernels_agree(isa, n, c, h, w, t, monkeypatch):
    """Odd channel counts, incomplete tiles, several reduction blocks, every stride, padding and dilation above."""
    if isa not in ISAS:
        pytest.skip(f'this processor has no {isa}')
    monkeypatch.setenv('ADDER_CPU_ISA', isa)
    torch.manual_seed(0)
    for geometry, kernel in itertools.product(GEOMETRIES, [(1, 1), (3, 3), (2, 3)]):
        pad = geometry['padding'] if isinstance(geometry['padding'], int) else min(geometry['padding'])
        dil = geometry['dilation'] if isinstance(geometry['dilation'], int) else max(geometry['dilation'])
        if min(h, w) + 2 * pad < dil * (max(kernel) - 1) + 1:
            continue
        x, weight = torch.randn(n, c, h, w), torch.randn(t, c, *kernel)
        x[x.abs() < 0.3] = 0
        weight[:, :, 0, 0] = x[0, :, 0, 0]  # some differences are exactly zero
        g = torch.randn_like(adder2d(x, weight, **geometry))
        for rule in ('hardtanh', 'sign'):
            exact = grads(x.double(), weight.double(), g.double(), 'reference', rule, **geometry)
            for actual, expected in zip(grads(x, weight, g, 'native', rule, **geometry), exact, strict=True):
                error, limit = (actual - expected).abs().max(), 1e-5 * expected.abs().max() + 1e-6
                assert error <= limit, (geometry, kernel, rule, float(error), float(limit))


@needs_native
def test_max_identity_is_left_where_it_cancels():
    """x and w close together and far from zero: sums of max cancel, the definition does not."""
    torch.manual_seed(0)
    x, w = 1000 + torch.rand(1, 64, 6, 6), 1000 + torch.rand(8, 64, 3, 3)
    actual = adder2d(x, w, padding=0, backend='native')
    expected = adder2d(x.double(), w.double(), padding=0)
    assert ((actual - expected).abs().max() / expected.abs().max()) < 1e-5


@needs_native
@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_bad_values_stay_visible(bad):
    x, w = torch.randn(1, 4, 6, 6), torch.randn(3, 4, 3, 3)
    x[0, 1, 2, 2] = bad
    expected = adder2d(x, w, backend='reference')
    torch.testing.assert_close(adder2d(x, w, backend='native'), expected, equal_nan=True)
    assert not expected.isfinite().all()


@pytest.mark.parametrize('backend', ['reference', pytest.param('native', marks=needs_native)])
def test_memory_layout_does_not_matter(backend):
    torch.manual_seed(0)
    x, w = torch.randn(2, 6, 9, 10), torch.randn(4, 6, 3, 3)
    g = torch.randn(2, 4, 9, 10)
    expected = grads(x, w, g, backend, padding=1)
    wide = torch.randn(2, 6, 9, 20)
    wide[..., ::2] = x
    for other, filters, grad in [(x.to(memory_format=torch.channels_last), w.to(memory_format=torch.channels_last), g),
                                 (wide[..., ::2], w.transpose(2, 3).contiguous().transpose(2, 3), g),
                                 (x, w, g.permute(1, 0, 2, 3).contiguous().permute(1, 0, 2, 3))]:
        for a, b in zip(grads(other, filters, grad, backend, padding=1), expected, strict=True):
            torch.testing.assert_close(a, b)


@needs_native
def test_deterministic_for_any_number_of_threads():
    torch.manual_seed(0)
    x, w = torch.randn(2, 24, 20, 20), torch.randn(30, 24, 3, 3)
    g = torch.randn(2, 30, 20, 20)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(grads(x, w, g, 'native', padding=1)[:2])  # the GEMM of the filters is torch's own
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_strips_do_not_change_the_result(monkeypatch):
    torch.manual_seed(0)
    x, w = torch.randn(2, 5, 17, 12, dtype=torch.float64), torch.randn(6, 5, 3, 3, dtype=torch.float64)
    g = torch.randn(2, 6, 9, 6, dtype=torch.float64)
    whole = grads(x, w, g, 'reference', stride=2, padding=1)
    monkeypatch.setattr(reference, 'MAX_COLUMN_ELEMENTS', 1)
    for a, b in zip(grads(x, w, g, 'reference', stride=2, padding=1), whole, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_no_large_temporary():
    """A layer whose C_out x C_in x k x k x positions tensor would take 3.7 GiB stays within a few column buffers."""
    script = '''
import torch
from projects.adder import adder2d
def peak():  # of this program; getrusage would tell the peak of the process that started it, if that is larger
    return int(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1]) / 1024
x = torch.randn(2, 64, 56, 56, requires_grad=True); w = torch.randn(64, 64, 3, 3, requires_grad=True)
adder2d(x[:, :, :4, :4], w, None, 1, 1, backend='{0}').sum().backward()
before = peak()
adder2d(x, w, None, 1, 1, backend='{0}').sum().backward()
print(peak() - before)
'''
    for backend in ['reference'] + ['native'] * native.available():
        grown = float(subprocess.run([sys.executable, '-c', script.format(backend)], check=True, text=True,
                                     capture_output=True).stdout)
        assert grown < 400, (backend, grown)  # MiB; the columns of this layer take 14


def test_half_precision_and_autocast_give_float32():
    x, w = torch.randn(1, 300, 8, 8) * 30, torch.randn(4, 300, 3, 3)
    expected = adder2d(x.half().float(), w)  # sums near 65504, half's largest number
    assert expected.abs().max() > 65504
    half = adder2d(x.half(), w)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected)
    w.requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        y = adder2d(x, w)
        y.sum().backward()
    assert y.dtype == w.grad.dtype == torch.float32
    torch.testing.assert_close(y.detach(), adder2d(x, w.detach()))


def test_unbatched_and_empty():
    x, w, b = torch.randn(3, 8, 8), torch.randn(4, 3, 3, 3), torch.randn(4)
    torch.testing.assert_close(adder2d(x, w, b), adder2d(x[None], w, b)[0])
    for backend in ['reference'] + ['native'] * native.available():
        empty = torch.zeros(0, 3, 8, 8, requires_grad=True)
        w.grad = None
        y = adder2d(empty, w.requires_grad_(), backend=backend)
        assert y.shape == (0, 4, 6, 6)
        y.sum().backward()
        assert empty.grad.shape == empty.shape and not w.grad.any()


@pytest.mark.parametrize('change, message', [
    (dict(grad_input='relu'), "grad_input='relu'"), (dict(backend='cuda'), "backend='cuda'"),
    (dict(stride=0), 'stride'), (dict(padding=-1), 'padding'), (dict(dilation=9), 'larger than'),
    (dict(weight=torch.zeros(4, 2, 3, 3)), 'no groups'), (dict(bias=torch.zeros(3)), 'bias of shape'),
    (dict(backend='triton'), 'triton')])
def test_errors_name_the_value(change, message):
    arguments = dict(input=torch.zeros(1, 3, 8, 8), weight=torch.zeros(4, 3, 3, 3)) | change
    with pytest.raises(ValueError, match=message):
        adder2d(**arguments)


def test_selection(monkeypatch):
    x = torch.zeros(1)
    assert select_backend('auto', x.double()) is reference
    monkeypatch.setattr(native, '_native', None)
    monkeypatch.setattr(native, '_warned', False)
    with pytest.warns(UserWarning, match='slower'):
        assert select_backend('auto', x) is reference
    import warnings
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # one warning is enough
        assert select_backend('auto', x) is reference
    with pytest.raises(ValueError, match='not built'):
        select_backend('native', x)


@needs_native
def test_unknown_instruction_set_is_refused(monkeypatch):
    monkeypatch.setenv('ADDER_CPU_ISA', 'mmx')
    with pytest.raises(RuntimeError, match='ADDER_CPU_ISA=mmx'):
        adder2d(torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 3, 3), backend='native')
