"""From a dense network to a ghost one: the choice of filters, exact weights, and what is refused."""

import copy

import pytest
import torch
from torch import nn

from projects.ghost_sr import GhostEDSR, ghostify, initialise_from_dense
from projects.ghost_sr.clustering import choose_filters
from projects.restoration import CARN, EDSR, IMDN, RDN, VDSR

SMALL = dict(mid_channels=16, num_blocks=2, upscale_factor=2)


def clustered_filters():
    """Twelve filters in four clusters of 1, 3, 4, 4 around far centres, shuffled; and the cluster of each."""
    torch.manual_seed(0)
    label = torch.tensor([0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3])[torch.randperm(12)]
    return torch.randn(4, 3, 3, 3)[label] * 10 + torch.randn(12, 3, 3, 3), label


def test_planted_clusters_are_found():
    weight, label = clustered_filters()
    choice = choose_filters(weight, 4)
    assert sorted(label[choice.intrinsic].tolist()) == [0, 1, 2, 3]
    dropped = choice.output_index.argsort()[4:]
    assert torch.equal(label[choice.intrinsic][choice.source_index], label[dropped])
    for index in choice.intrinsic:  # the filter nearest to its cluster's mean
        members = weight[label == label[index]]
        distance = (members - members.mean(0)).flatten(1).norm(dim=1)
        assert torch.equal(members[distance.argmin()], weight[index])
    again = choose_filters(weight, 4)
    assert torch.equal(again.intrinsic, choice.intrinsic) and torch.equal(again.source_index, choice.source_index)


def test_order_of_the_outputs():
    """(intrinsic, dropped)[output_index] is 0, 1, 2, ..."""
    choice = choose_filters(torch.randn(10, 2, 3, 3), 6)
    dropped = [i for i in range(10) if i not in choice.intrinsic.tolist()]
    assert torch.cat([choice.intrinsic, torch.tensor(dropped)])[choice.output_index].tolist() == list(range(10))


def test_equal_filters_do_not_leave_a_cluster_empty():
    weight = torch.ones(8, 1, 3, 3)
    weight[5] = 2
    choice = choose_filters(weight, 4)
    assert len(set(choice.intrinsic.tolist())) == 4 and 5 in choice.intrinsic
    assert (weight[choice.intrinsic][choice.source_index] == 1).all()


def test_groups_are_clustered_apart():
    choice = choose_filters(torch.randn(12, 2, 3, 3), 6, groups=3)
    assert [(choice.intrinsic // 4 == g).sum().item() for g in range(3)] == [2, 2, 2]
    dropped = choice.output_index.argsort()[6:]
    assert torch.equal(choice.intrinsic[choice.source_index] // 4, dropped // 4)


def test_intrinsic_maps_are_the_dense_layers():
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Conv2d(5, 12, 3, padding=1))
    ghost, x = copy.deepcopy(dense), torch.randn(2, 5, 6, 6)
    assert ghostify(ghost, include='0') == ['0']
    layer = ghost[0]
    kept = (layer.output_index < 6).nonzero().flatten()
    with torch.no_grad():
        primary = layer.primary_conv(x)
        torch.testing.assert_close(primary, dense(x)[:, kept], rtol=1e-6, atol=1e-6)
        assert torch.equal(ghost.eval()(x)[:, kept], primary)
    assert torch.equal(layer.primary_conv.weight, dense[0].weight[kept])
    assert torch.equal(layer.primary_conv.bias, dense[0].bias[kept])


@pytest.mark.parametrize('network', [EDSR, RDN, CARN, IMDN])
def test_no_ghosts_is_the_identity(network):
    """ratio = 1 (lambda = 0): the converted network is the dense one, to the bit."""
    torch.manual_seed(0)
    arguments = dict(mid_channels=16, upscale_factor=2) if network is CARN else SMALL
    model, x = network(**arguments).eval(), torch.rand(1, 3, 6, 7)
    with torch.no_grad():
        expected = model(x)
        names = ghostify(model, ratio=1)
        assert torch.equal(model(x), expected)
    assert len(names) == {EDSR: 4, RDN: 16, CARN: 18, IMDN: 6}[network]


def test_clustered_start_beats_random_filters():
    """Filters in near-equal pairs: a converted layer stays close to the dense one, one that keeps any six does not."""
    torch.manual_seed(0)
    dense, x = nn.Sequential(nn.Conv2d(5, 12, 3, padding=1)), torch.randn(2, 5, 8, 8)
    weight, bias = dense[0].weight.data, dense[0].bias.data
    weight[1::2], bias[1::2] = weight[::2] + 0.05 * weight[1::2], bias[::2]
    clustered, ordered = copy.deepcopy(dense), copy.deepcopy(dense)
    ghostify(clustered, include='0'), ghostify(ordered, include='0')
    ordered[0].set_channels(torch.arange(6), torch.arange(12))
    ordered[0].primary_conv.load_state_dict(dict(weight=weight[:6], bias=bias[:6]))
    with torch.no_grad():
        error = [(m.eval()(x) - dense(x)).square().mean().item() for m in (clustered, ordered)]
    assert error[0] < 0.01 * error[1]


def test_grouped_units_of_carn_m():
    torch.manual_seed(0)
    model = CARN(mid_channels=16, groups=4, upscale_factor=2)
    assert ghostify(model, ratio=0.5) == [f'b{i}.b1.body.{j}' for i in (1, 2, 3) for j in (0, 2)]
    assert model(torch.rand(1, 3, 5, 5)).shape == (1, 3, 10, 10)


def test_include_and_exclude():
    model = VDSR(mid_channels=8, num_layers=5)
    with pytest.raises(ValueError, match='include is not set'):
        ghostify(model)
    with pytest.raises(ValueError, match='no convolution with stride 1'):
        ghostify(model, include='nothing')
    names = ghostify(model, include='residual_layer', exclude=r'residual_layer\.1')
    assert len(names) == 2 and not any('residual_layer.1' in name for name in names)


def test_weights_of_another_network_are_refused():
    model = GhostEDSR(**SMALL)
    state = EDSR(**SMALL).state_dict()
    assert initialise_from_dense(model, state) == 4
    with pytest.raises(ValueError, match=r'body\.1\.body\.2\.weight: expected filters \(16, 16, 3, 3\).*found nothing'):
        initialise_from_dense(model, {k: v for k, v in state.items() if k != 'body.1.body.2.weight'})
    with pytest.raises(ValueError, match='only one of the two has'):
        initialise_from_dense(model, EDSR(**dict(SMALL, num_blocks=3)).state_dict())
    with pytest.raises(ValueError, match='size mismatch for tail'):
        initialise_from_dense(model, EDSR(**dict(SMALL, upscale_factor=3)).state_dict())
