"""DyFPN: closed, open and chosen branches are the networks that they stand for, in training and in evaluation."""

import pytest
import torch
from mmdet.models.necks import FPN
from torch import nn

from projects.dyfpn import DyFPN, InceptionFPN

CHANNELS = [4, 6, 8, 10]
SIZES = (32, 16, 8, 4)


class Fixed(nn.Module):
    """A gate that decides what the test says: rows of choices, one for each image."""

    always_sampled = False

    def __init__(self, rows, num_choices):
        super().__init__()
        # so far apart that the Gumbel noise of training cannot change the choice
        self.logits = 1e4 * nn.functional.one_hot(torch.tensor(rows), num_choices).float()
        self.num_choices = num_choices

    def forward(self, maps):
        return list(self.logits.unbind(1))


@pytest.fixture
def maps():
    torch.manual_seed(0)
    return [torch.randn(4, c, s, s + 3) for c, s in zip(CHANNELS, SIZES, strict=True)]


def dynamic(structure, rows, **kwargs):
    torch.manual_seed(1)
    neck = DyFPN(CHANNELS, 8, 5, structure=structure, loss_flops=None, **kwargs)
    for p in neck.parameters():
        nn.init.normal_(p, std=0.2)
    neck.gates = Fixed(rows, neck.gates.num_choices)
    return neck.eval()


def twin(neck, other, renames):
    """`other` with the weights of `neck`, entries renamed; None drops one."""
    state = {}
    for name, value in neck.state_dict().items():
        for old, new in renames.items():
            name = None if name is None or (new is None and old in name) else name.replace(old, new or '')
        if name is not None:
            state[name] = value
    other.load_state_dict(state)
    return other.eval()


def assert_same(first, second, **tolerance):
    for x, y in zip(first, second, strict=True):
        torch.testing.assert_close(x, y, **tolerance)


def test_all_closed_is_the_plain_fpn(maps):
    neck = dynamic('B', [[0] * 4] * 4)
    plain = twin(neck, FPN(CHANNELS, 8, 5), {'branches': None, 'skip.': ''})
    assert_same(neck(maps), plain(maps), rtol=0, atol=0)


def test_all_open_is_the_static_structure_b(maps):
    neck = dynamic('B', [[1] * 4] * 4)
    static = twin(neck, InceptionFPN(CHANNELS, 8, 5, with_skip=True), {})
    assert_same(neck(maps), static(maps), rtol=0, atol=0)


@pytest.mark.parametrize('k', range(7))
def test_choice_k_of_structure_a_is_an_fpn_with_that_lateral(k, maps):
    neck = dynamic('A', [[k] * 4] * 4)
    single = InceptionFPN(CHANNELS, 8, 5, branches=[neck.branches[k]])
    others = {f'branches.{i}.': None for i in range(7) if i != k}
    twin(neck, single, {**others, f'branches.{k}.': 'branches.0.'})
    assert_same(neck(maps), single(maps), rtol=0, atol=0)


MIXED = dict(B=[[0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 0, 1], [1, 1, 0, 1]],
             A=[[0, 1, 6, 5], [3, 1, 6, 4], [0, 2, 6, 5], [2, 0, 6, 1]])


@pytest.mark.parametrize('structure', 'AB')
def test_a_mixed_batch_equals_its_images_alone(structure, maps):
    neck = dynamic(structure, MIXED[structure])
    with torch.no_grad():
        together = neck(maps)
        for i, row in enumerate(MIXED[structure]):
            neck.gates = Fixed([row], neck.gates.num_choices)
            assert_same([x[i:i + 1] for x in together], neck([x[i:i + 1] for x in maps]))


@pytest.mark.parametrize('structure', 'AB')
def test_training_with_these_decisions_equals_evaluation(structure, maps):
    neck = dynamic(structure, MIXED[structure])
    with torch.no_grad():
        expected = neck(maps)
    assert_same(neck.train()(maps), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('structure, count', [('A', [3, 3, 1, 3]), ('B', [2, 3, 0, 3])])
def test_a_closed_branch_is_not_computed(structure, count, maps):
    """Every branch sees the images that chose it and no others."""
    neck = dynamic(structure, MIXED[structure])
    seen = [{} for _ in CHANNELS]
    for level, lateral in enumerate(neck.lateral_convs):
        for k, branch in enumerate(lateral.branches):
            branch.register_forward_hook(
                lambda module, args, out, level=level, k=k: seen[level].update({k: len(args[0])}))
    with torch.no_grad():
        neck(maps)
    for level, calls in enumerate(seen):
        rows = [row[level] for row in MIXED[structure]]
        if structure == 'A':
            assert calls == {k: rows.count(k) for k in set(rows)} and len(calls) == count[level]
        else:
            assert calls == ({k: sum(rows) for k in range(7)} if any(rows) else {}) and sum(rows) == count[level]


@pytest.mark.parametrize('structure', 'AB')
def test_gradient_reaches_bank_and_gates(structure, maps):
    """Of the task's loss alone, through the straight-through estimate."""
    torch.manual_seed(0)
    neck = DyFPN(CHANNELS, 8, 5, structure=structure, loss_flops=None).train()
    sum(x.square().mean() for x in neck(maps)).backward()
    for level in neck.gates.levels:
        assert level[2].bias.grad.abs().sum() > 0
    assert all(p.grad is not None for p in neck.parameters())  # what DDP asks for


def test_closed_bank_gets_no_gradient_but_stays_in_the_graph(maps):
    neck = dynamic('B', [[0, 1, 1, 1]] * 4).train()
    sum(x.square().mean() for x in neck(maps)).backward()
    first, second = (neck.lateral_convs[i].branches[3].conv.weight.grad for i in (0, 1))
    assert not first.any() and second.any()


def test_evaluation_takes_the_most_probable_choice_and_can_sample(maps):
    torch.manual_seed(0)
    neck = DyFPN(CHANNELS, 8, 5, loss_flops=None).eval()
    for level in neck.gates.levels:
        nn.init.zeros_(level[2].weight)
        level[2].bias.data = torch.tensor([0.0, 0.1])
    decide = [neck.decide([x[:1].expand(200, -1, -1, -1) for x in maps])[0] for _ in range(2)]
    assert all((gate[:, 1] == 1).all() for gates in decide for gate in gates)
    neck.eval_stochastic = True
    rate = torch.stack(neck.decide([x[:1].expand(1000, -1, -1, -1) for x in maps])[0])[..., 1].mean()
    assert abs(rate - torch.tensor(0.1).sigmoid()) < 0.03


def test_gates_stay_float32_under_autocast(maps):
    neck = DyFPN(CHANNELS, 8, 5, loss_flops=None).train()
    kinds = []
    neck.gates.register_forward_hook(lambda module, args, out: kinds.extend(x.dtype for x in out))
    with torch.autocast('cpu', torch.bfloat16):
        outs = neck([x.bfloat16() for x in maps])
        neck.eval()([x.bfloat16() for x in maps])
    assert set(kinds) == {torch.float32} and {x.dtype for x in outs} == {torch.bfloat16}


def test_record_holds_choices_and_sizes(maps):
    neck = dynamic('B', MIXED['B'])
    neck.record = []
    neck(maps)
    [(choices, sizes)] = neck.record
    assert choices.tolist() == MIXED['B'] and sizes == [(s, s + 3) for s in SIZES]


def test_costs_are_those_of_the_bank():
    neck = DyFPN(CHANNELS, 8, 5)
    assert neck.choice_costs([(5, 7)] * 4) == [[0, 103 * c * 8 * 35] for c in CHANNELS]
    assert DyFPN(CHANNELS, 8, 5, structure='A').choice_costs([(1, 1)] * 4)[0] == [
        taps * 4 * 8 for taps in (1, 9, 9, 9, 25, 25, 25)]


@pytest.mark.parametrize('arguments, words', [
    (dict(structure='C'), 'structure'), (dict(structure='A', deploy=True), 'nothing to merge'),
    (dict(with_skip=True), 'structure'), (dict(loss_flops=dict(alpha=1.5)), 'alpha'),
    (dict(loss_flops=dict(costs=[[0, 1]])), 'expected 4 levels')])
def test_arguments_that_make_no_sense(arguments, words):
    with pytest.raises(ValueError, match=words):
        DyFPN(CHANNELS, 8, 5, **arguments)
