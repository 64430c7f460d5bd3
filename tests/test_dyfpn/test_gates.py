"""Gates of DyFPN: parameter counts of the official code, first open rates, direction of the recurrent ones."""

import pytest
import torch
from mmdet.registry import MODELS

import projects.dyfpn  # noqa: F401

CHANNELS = [256, 512, 1024, 2048]
SMALL = [8, 12, 16, 20]


def build(kind, channels=SMALL, choices=2, **kwargs):
    return MODELS.build(dict(type=kind, in_channels=channels, num_choices=choices, **kwargs))


def maps(images=2):
    torch.manual_seed(0)
    return [torch.randn(images, c, s, s) for c, s in zip(SMALL, (16, 8, 4, 3), strict=True)]


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_parameters():
    with torch.device('meta'):
        pooled, conv = build('PoolFCGate', CHANNELS), build('ConvGate', CHANNELS)
    assert [parameters(level) for level in pooled.levels] == [16_578, 65_922, 262_914, 1_050_114]
    assert [conv.convs[3].weight.numel(), parameters(conv.fcs[3])] == [9 * 2048**2, 2 * 2048 + 2]
    gru, lstm = build('RNNGate', choices=7), build('RNNGate', choices=7, cell='lstm')
    inputs, output = sum(16 * c + 16 for c in SMALL), 17 * 7
    assert [parameters(gru), parameters(lstm)] == [inputs + output + gates * (2 * 16**2 + 2 * 16) for gates in (3, 4)]


@pytest.mark.parametrize('kind, options', [
    ('PoolFCGate', {}), ('ConvGate', {}), ('RandomGate', {}), ('RNNGate', dict(cell='gru')),
    ('RNNGate', dict(cell='lstm', direction='downward'))])
@pytest.mark.parametrize('choices', [2, 7])
def test_one_row_of_logits_for_each_level_and_image(kind, options, choices):
    gate = build(kind, choices=choices, **options)
    inputs = maps()
    logits = gate(inputs)
    assert [tuple(x.shape) for x in logits] == [(2, choices)] * 4
    for i in (0, 1):  # images do not see each other
        for alone, row in zip(gate([x[i:i + 1] for x in inputs]), logits, strict=True):
            torch.testing.assert_close(alone[0], row[i])


@pytest.mark.parametrize('kind, last', [('PoolFCGate', lambda gate: gate.levels[2][2]),
                                        ('ConvGate', lambda gate: gate.fcs[2])])
def test_structure_b_begins_open(kind, last):
    """Bias [0.1, 2]: open with probability 0.87; structure A begins unbiased."""
    bias = last(build(kind)).bias
    torch.testing.assert_close(bias.detach(), torch.tensor([0.1, 2.0]))
    assert bias.softmax(0)[1].item() == pytest.approx(0.87, abs=0.001)
    assert not (last(build(kind, choices=7)).bias > 0.5).any()


@pytest.mark.parametrize('direction, first', [('upward', 0), ('downward', 3)])
def test_recurrent_gates_read_in_their_direction(direction, first):
    """The first level read is known to all others, the last one to itself only."""
    gate = build('RNNGate', direction=direction)
    inputs = maps()

    def changed(level):
        other = [x + (i == level) for i, x in enumerate(inputs)]
        return [not torch.equal(x, y) for x, y in zip(gate(inputs), gate(other), strict=True)]

    assert changed(first) == [True] * 4
    assert changed(3 - first) == [i == 3 - first for i in range(4)]


def test_random_gate_has_the_probabilities_asked_for():
    gate = build('RandomGate', probabilities=[6 / 7, 1 / 7])
    assert gate.always_sampled and not parameters(gate)
    torch.testing.assert_close(gate(maps())[0].softmax(1)[0], torch.tensor([6 / 7, 1 / 7]))


@pytest.mark.parametrize('kind, options, words', [
    ('RNNGate', dict(cell='rnn'), 'cell'), ('RNNGate', dict(direction='up'), 'direction'),
    ('RandomGate', dict(probabilities=[1.0, 0.0]), 'positive'), ('PoolFCGate', dict(init_bias=[1.0]), 'init_bias')])
def test_arguments_that_make_no_sense(kind, options, words):
    with pytest.raises(ValueError, match=words):
        build(kind, **options)


def test_gates_of_structure_a_begin_unbiased():
    """Also with two branches, where a choice is not between closed and open."""
    def bias(structure):
        neck = MODELS.build(dict(type='DyFPN', in_channels=SMALL, out_channels=4, num_outs=4, structure=structure,
                                 branches=((1, 1), (3, 1))))
        return neck.gates.levels[0][-1].bias.tolist()
    assert bias('B') == pytest.approx([0.1, 2.0])
    assert max(map(abs, bias('A'))) < 1
