"""InceptionFPN: counts of arXiv 2012.00779, one large window that equals the bank, and merged branches."""

import pytest
import torch
from mmdet.models.necks import FPN
from torch import nn

from projects.dyfpn import BRANCHES, DyFPN, InceptionFPN

CHANNELS = [4, 6, 8, 10]
R50 = [256, 512, 1024, 2048]


@pytest.fixture
def maps():
    torch.manual_seed(0)
    return [torch.randn(2, c, s, s + 3) for c, s in zip(CHANNELS, (32, 16, 8, 4), strict=True)]


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@torch.no_grad()
def randomise(neck):
    for p in neck.parameters():
        nn.init.normal_(p, std=0.2)
    return neck.eval()


def test_parameters_of_the_laterals_of_r50():
    with torch.device('meta'):
        plain, a, b = FPN(R50, 256, 5), InceptionFPN(R50, 256, 5), InceptionFPN(R50, 256, 5, with_skip=True)
    assert parameters(plain.lateral_convs) == 984_064
    assert parameters(a.lateral_convs) == 101_260_288
    assert parameters(b.lateral_convs) == 102_244_352
    assert parameters(a.fpn_convs) == parameters(plain.fpn_convs)


def test_multiply_adds_at_1280x800():
    """The bank: 103 C_in 256 for each position, 432 G at C2 and half of it at every next level, 810 G together."""
    with torch.device('meta'):
        neck = InceptionFPN(R50, 256, 5, with_skip=True)
    sizes = neck.level_sizes(800, 1280)
    assert sizes == [(200, 320), (100, 160), (50, 80), (25, 40)]
    levels = [sum(level) for level in neck.branch_macs(sizes)]
    assert levels[0] == 103 * 256 * 256 * 200 * 320
    assert [round(level / 1e9, 1) for level in levels] == [432.0, 216.0, 108.0, 54.0]
    assert round(sum(levels) / 1e9, 1) == 810.0
    assert neck.skip_macs(sizes)[0] * 103 == levels[0]


def test_retinanet_uses_three_levels():
    with torch.device('meta'):
        neck = InceptionFPN(R50, 256, 5, start_level=1, add_extra_convs='on_input')
    assert len(neck.lateral_convs) == 3 and neck.strides == [8, 16, 32]
    assert len([m for lateral in neck.lateral_convs for m in lateral.branches]) == 21


def test_the_bank_is_one_sparse_window_of_13x13():
    torch.manual_seed(0)
    neck = randomise(InceptionFPN([3], 2, 1))
    large = torch.zeros(2, 3, 13, 13)
    for (kernel, dilation), branch in zip(BRANCHES, neck.lateral_convs[0].branches, strict=True):
        reach = dilation * (kernel // 2)
        large[:, :, 6 - reach:7 + reach:dilation, 6 - reach:7 + reach:dilation] += branch.conv.weight.detach()
    bias = sum(branch.conv.bias for branch in neck.lateral_convs[0].branches)
    x = torch.randn(1, 3, 20, 17)
    torch.testing.assert_close(neck.lateral_convs[0](x), nn.functional.conv2d(x, large, bias, padding=6))


def test_one_branch_of_1x1_is_mmdets_fpn(maps):
    neck = randomise(InceptionFPN(CHANNELS, 8, 6, branches=((1, 1),), start_level=1, add_extra_convs='on_output'))
    plain = FPN(CHANNELS, 8, 6, start_level=1, add_extra_convs='on_output').eval()
    plain.load_state_dict({name.replace('branches.0.', ''): value for name, value in neck.state_dict().items()})
    for ours, theirs in zip(neck(maps), plain(maps), strict=True):
        assert torch.equal(ours, theirs)


def test_init_is_xavier_uniform():
    torch.manual_seed(0)
    neck = InceptionFPN([64, 64], 64, 2)
    neck.init_weights()
    conv = neck.lateral_convs[1].branches[6].conv
    bound = (6 / (128 * 25)) ** 0.5
    assert 0.99 * bound < conv.weight.abs().max() <= bound and not conv.bias.any()


@pytest.mark.parametrize('make', [lambda **cfg: InceptionFPN(CHANNELS, 8, 5, with_skip=True, **cfg),
                                  lambda **cfg: InceptionFPN(CHANNELS, 8, 5, **cfg),
                                  lambda **cfg: DyFPN(CHANNELS, 8, 5, loss_flops=None, **cfg)])
def test_merged_branches_compute_the_same(make, maps):
    """75 taps in three passes instead of 103 in seven; the checkpoint loads into a neck built merged."""
    neck = randomise(make()).double()
    maps = [x.double() for x in maps]
    with torch.no_grad():
        before = neck(maps)
        taps = sum(kernel**2 for kernel, _ in neck.branches)
        merged = neck.switch_to_deploy()
        assert (taps, sum(kernel**2 for kernel, _ in merged.branches)) == (103, 75)
        again = make(deploy=True).double().eval()
        again.load_state_dict(merged.state_dict())
        for x, y, z in zip(before, merged(maps), again(maps), strict=True):
            torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-10)
            assert torch.equal(y, z)


def test_branches_with_a_norm_cannot_be_merged():
    with pytest.raises(ValueError, match='without norm'):
        InceptionFPN(CHANNELS, 8, 5, norm_cfg=dict(type='BN')).switch_to_deploy()


@pytest.mark.parametrize('arguments, words', [
    (dict(branches=((2, 1),)), 'odd kernel'), (dict(branches=()), 'empty'), (dict(bank=dict(act_cfg=None)), 'bank'),
    (dict(strides=[4, 8]), 'expected 4 numbers')])
def test_arguments_that_make_no_sense(arguments, words):
    with pytest.raises(ValueError, match=words):
        InceptionFPN(CHANNELS, 8, 5, **arguments)


def test_levels_that_do_not_fit(maps):
    neck = InceptionFPN(CHANNELS, 8, 5)
    with pytest.raises(ValueError, match=r'got 3 feature maps with \[4, 6, 8\] channels.*out_indices'):
        neck(maps[:3])
    with pytest.raises(ValueError, match='in_channels'):
        neck(maps[::-1])
