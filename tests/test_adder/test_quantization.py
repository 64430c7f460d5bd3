"""Integer adder layers: the kernel equals the simulation to the bit, and both schemes keep their promises."""

import pytest
import torch
from torch import nn

from projects.adder import Adder2d, QuantAdder2d, native
from projects.adder.quant_functional import code_range, filter_integers
from projects.adder.quantization import ActivationRange, _outlier_rank, calibrate, quantize, quantize_layer

ISAS = native._native.supported_isas() if native.available() else []
needs_native = pytest.mark.skipif(not native.available(), reason=f'compiled kernels not built: {native.WHY_MISSING}')


def seen_of(x):
    seen = ActivationRange()
    seen.update(x)
    return seen


def layer_and_input(c, t, k, s, p, size=(9, 14), signed=True, **kwargs):
    torch.manual_seed(0)
    layer = Adder2d(c, t, k, s, p, **kwargs)
    layer.weight.data *= torch.rand(t, 1, 1, 1) * 3
    x = 1.5 * torch.randn(2, c, *size)
    return layer, x if signed else x.relu()


@needs_native
@pytest.mark.parametrize('isa', ['avx512', 'avx2', 'portable'])
@pytest.mark.parametrize('scheme', ['shared', 'grouped'])
@pytest.mark.parametrize('signed', [False, True])
@torch.no_grad()
def test_integers_equal_the_simulation(isa, scheme, signed, monkeypatch):
    """Odd channel counts, incomplete tiles and panels, strides, padding, dilation, one and several tiles an image."""
    if isa not in ISAS:
        pytest.skip(f'this processor has no {isa}')
    monkeypatch.setenv('ADDER_CPU_ISA', isa)
    for bits, shape, kwargs in [(8, (13, 37, 3, 2, 1), {}), (4, (8, 6, 1, 1, 0), dict(size=(40, 41))),
                                (8, (3, 5, 7, 2, 3), dict(bias=False)), (2, (17, 4, 3, 1, 2), dict(dilation=2)),
                                (8, (20, 9, 1, 2, 0), {}), (6, (5, 70, (2, 3), (1, 2), (0, 1)), {})]:
        layer, x = layer_and_input(*shape, signed=signed, **kwargs)
        quant = quantize_layer(layer, seen_of(x), scheme, bits)
        actual = quant(x)
        quant.simulated = True
        assert torch.equal(actual, quant(x)), (bits, shape)
        wide = torch.empty(*x.shape[:3], 2 * x.shape[3])[..., ::2].copy_(x)
        quant.simulated = False
        assert torch.equal(actual, quant(wide))
        assert torch.equal(actual, quant(x.to(memory_format=torch.channels_last)))


@needs_native
@torch.no_grad()
def test_another_instruction_set_or_state_is_packed_anew(monkeypatch):
    layer, x = layer_and_input(8, 7, 3, 1, 1)
    quant = quantize_layer(layer, seen_of(x), 'shared')
    first = quant(x)
    for isa in ISAS:
        monkeypatch.setenv('ADDER_CPU_ISA', isa)
        assert torch.equal(quant(x), first)
    other = quantize_layer(layer_and_input(8, 7, 3, 1, 1)[0].requires_grad_(False), seen_of(20 * x), 'shared')
    quant.load_state_dict(other.state_dict())
    assert torch.equal(quant(x), other(x)) and not torch.equal(quant(x), first)


@torch.no_grad()
def test_shared_codes_are_as_exact_as_their_step():
    """Every difference is off by at most one step: half a step on either side."""
    layer, x = layer_and_input(6, 8, 3, 1, 1, bias=False)
    quant = quantize_layer(layer, seen_of(x), 'shared', 8)
    assert ((quant(x) - layer(x)).abs().max() <= 6 * 9 * quant.steps[0]).all()
    assert quant.steps[0] == max(x.abs().max(), layer.weight.abs().max()) / 127
    assert quant.codes.abs().max() == 127


@pytest.mark.parametrize('signed', [False, True])
@torch.no_grad()
def test_clamped_filters_lose_nothing(signed):
    """A group reaching beyond the activations is clamped to them, and the bias restores the value."""
    torch.manual_seed(0)
    layer = Adder2d(5, 6, 3, padding=1, bias=True)
    layer.weight.data *= 40
    x = torch.rand(1, 5, 8, 8) - (0.5 if signed else 0)
    seen = ActivationRange(largest=1., clamped=1., lowest=x.min().item())
    quant = quantize_layer(layer, seen, 'grouped', 8, num_scales=2)
    step = 2 / 255  # of the filters, for a range of 1
    assert torch.allclose(quant.steps, torch.tensor(step if signed else step / 2))
    assert bool(quant.signed) == signed and (quant.bias < layer.bias).all()
    # at most half a step of each side an element, where clamped by the codes' range one step more
    assert (quant(x) - layer(x)).abs().max() <= 45 * 1.5 * step


@torch.no_grad()
def test_grouped_scales_follow_the_filters():
    """Small filters get the small step: the clusters of their largest magnitudes."""
    torch.manual_seed(0)
    layer = Adder2d(4, 8, 3, bias=False)
    layer.weight.data = torch.rand_like(layer.weight) * torch.tensor([0.1, 1.] * 4)[:, None, None, None]
    quant = quantize_layer(layer, ActivationRange(5., 5., 0.), 'grouped', 8, num_scales=2)
    steps = quant.steps[quant.scale_index]
    assert (steps[::2] < 0.11 / 255).all() and (steps[1::2] > 0.9 / 255).all()
    assert quant.codes.abs().amax((1, 2, 3)).min() > 100


def test_outlier_rank_is_the_official_one():
    """The percentile 0.9997 enters twice, as in research/cv/AdderQuant: about the 99.94th percentile."""
    assert _outlier_rank(1) == 1
    assert _outlier_rank(1_000_000) == int((999_700 - 1) * 0.9997) + 1 == 999_400
    seen = seen_of(torch.arange(10_000.) / 10_000)
    assert seen.clamped == pytest.approx(0.9993) and seen.largest == pytest.approx(0.9999)
    seen.update(torch.full((10,), -0.5))
    assert seen.lowest == -0.5 and seen.clamped == pytest.approx(0.9993)


def test_codes_cover_their_range():
    assert code_range(True, 8) == (-128, 127) and code_range(False, 8) == (0, 255) and code_range(False, 4) == (0, 15)
    codes = torch.tensor([-128, 127], dtype=torch.int8)
    assert filter_integers(codes, False).tolist() == [-256, 254]
    assert filter_integers(codes, True).tolist() == [-128, 127]


def net():
    torch.manual_seed(0)
    return nn.Sequential(Adder2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), Adder2d(8, 4, 1)).eval()


@torch.no_grad()
def test_a_quantised_network_stays_close():
    model, x = net(), torch.randn(2, 3, 16, 16)
    model.train()(x)  # statistics
    expected = model.eval()(x)
    with calibrate(model) as ranges:
        model(x)
    assert ranges.keys() == {'0', '3'} and ranges['3'].lowest == 0
    quantize(model, ranges, 'shared')
    assert [type(layer).__name__ for layer in model] == ['QuantAdder2d', 'BatchNorm2d', 'ReLU', 'QuantAdder2d']
    assert (model(x) - expected).abs().max() < 0.02 * expected.std()
    assert not list(model[0].parameters()) and not model[0].training


def test_what_cannot_be_quantised_says_why():
    model = net()
    with calibrate(model) as ranges, torch.no_grad():
        model[0](torch.randn(1, 3, 8, 8))
    with pytest.raises(ValueError, match='never ran 3 .1 of 2'):
        quantize(model, ranges)
    with pytest.raises(ValueError, match='no adder layer'):
        quantize(nn.Linear(2, 2), {})
    with pytest.raises(ValueError, match="scheme='int8', expected one of"):
        quantize_layer(model[0], ranges['0'], 'int8')
    model[0].weight.data[0] = float('nan')
    with pytest.raises(ValueError, match='0: .*not finite'):
        quantize(model, dict(ranges, **{'3': ranges['0']}))
    with pytest.raises(ValueError, match='bits=9'):
        QuantAdder2d(2, 2, 1, bits=9)
    with pytest.raises(ValueError, match='no gradient through integers'):
        QuantAdder2d(2, 2, 1)(torch.randn(1, 2, 3, 3, requires_grad=True))
