"""RPAFPN: its four ablation rows, and the graph written out by hand."""

import pytest
import torch
import torch.nn.functional as F
from mmdet.models.necks import PAFPN
from torch import nn

from projects.adder import Adder2d
from projects.adder_fcos import RPAFPN

CHANNELS = [8, 16, 32]


def inputs(sizes=((25, 42), (13, 21), (7, 11))):
    """Odd sizes, as an 800 x 1333 image gives."""
    torch.manual_seed(0)
    return [torch.randn(2, c, *size) for c, size in zip(CHANNELS, sizes, strict=True)]


def build(**options):
    torch.manual_seed(1)
    return RPAFPN(CHANNELS, 12, 5, norm_cfg=dict(type='BN'), **options).eval()


def test_top_down_first_without_shortcut_is_pafpn():
    ours = build(order='top_down_first', with_shortcut=False)
    theirs = PAFPN(CHANNELS, 12, 5, norm_cfg=dict(type='BN'), add_extra_convs='on_output',
                   relu_before_extra_convs=True).eval()
    theirs.load_state_dict(ours.state_dict())
    for a, b in zip(ours(inputs()), theirs(inputs()), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('shortcut', [True, False])
def test_bottom_up_first_is_the_documented_graph(shortcut):
    neck = build(with_shortcut=shortcut, conv_cfg=dict(type='Adder2d'))

    def apply(layer, x):
        stride = layer.conv.stride[0]
        return layer(x) + (F.max_pool2d(x, 1, stride) if shortcut else 0)

    c3, c4, c5 = inputs()
    l3, l4, l5 = (layer(x) for layer, x in zip(neck.lateral_convs, (c3, c4, c5), strict=True))
    n3 = l3
    n4 = l4 + apply(neck.downsample_convs[0], n3)
    n5 = l5 + apply(neck.downsample_convs[1], n4)
    m3, m4, m5 = (apply(neck.fpn_convs[i], n) for i, n in enumerate((n3, n4, n5)))
    t4 = m4 + F.interpolate(m5, size=m4.shape[2:])
    t3 = m3 + F.interpolate(t4, size=m3.shape[2:])
    p3, p4, p5 = apply(neck.pafpn_convs[0], t3), apply(neck.pafpn_convs[1], t4), m5
    p6 = apply(neck.fpn_convs[3], p5)
    p7 = apply(neck.fpn_convs[4], p6.relu())
    for actual, expected in zip(neck([c3, c4, c5]), (p3, p4, p5, p6, p7), strict=True):
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize('options, layers', [
    (dict(), 3 + 3 + 2 + 2 + 2), (dict(light=True), 3 + 3 + 2 + 2), (dict(order='top_down_first'), 12),
    (dict(add_extra_convs=False), 3 + 3 + 2 + 2)])
def test_every_layer_adds_and_every_parameter_is_used(options, layers):
    neck = build(conv_cfg=dict(type='Adder2d'), **options).train()
    assert sum(isinstance(m, Adder2d) for m in neck.modules()) == layers
    assert not any(isinstance(m, nn.Conv2d) for m in neck.modules())
    outs = neck(inputs())
    assert [tuple(o.shape[2:]) for o in outs] == [(25, 42), (13, 21), (7, 11), (4, 6), (2, 3)]
    sum(o.square().sum() for o in outs).backward()
    assert all(p.grad is not None for p in neck.parameters())


@pytest.mark.parametrize('options', [dict(order='sideways'), dict(add_extra_convs='on_input')])
def test_what_does_not_exist_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options.values()))):
        build(**options)
