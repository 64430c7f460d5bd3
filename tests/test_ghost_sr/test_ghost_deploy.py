"""The deployed forms: slices are exact to the bit, folding to rounding, for every direction and at every border."""

import copy

import pytest
import torch
from torch import nn

from projects.ghost_sr import DeployedGhostConv2d, GhostCARN, GhostConv2d, GhostEDSR, GhostIMDN, GhostRDN, deploy
from projects.ghost_sr.deploy import DeployedResidualBlock, GhostPair
from projects.ghost_sr.folding import FoldedConv

OFFSETS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
SMALL = dict(mid_channels=16, upscale_factor=2)


def shuffle(layer):
    layer.set_channels(torch.randint(layer.intrinsic_channels, (layer.ghost_channels,)),
                       torch.randperm(layer.out_channels))


def ghost_edsr(shuffled, **kwargs):
    """Nine blocks, one for each direction of the first layer."""
    torch.manual_seed(0)
    model = GhostEDSR(num_blocks=9, res_scale=0.1, rgb_range=1., **SMALL, **kwargs).double().eval()
    for block, offset in zip(model.body, OFFSETS, strict=False):
        block.body[0].set_direction(offset)
        if shuffled:
            shuffle(block.body[0]), shuffle(block.body[2])
    return model


@torch.no_grad()
def outputs(model, form, size=(7, 6)):
    image = torch.rand(2, 3, *size, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    return model(image), copy.deepcopy(model).switch_to_deploy(form)(image)


@pytest.mark.parametrize('shuffled', [False, True])
@pytest.mark.parametrize('size', [(7, 6), (1, 5), (4, 1), (1, 1)])
def test_edsr(shuffled, size):
    model = ghost_edsr(shuffled)
    expected, sliced = outputs(model, 'slice', size)
    assert torch.equal(sliced, expected)
    _, folded = outputs(model, 'fold', size)
    torch.testing.assert_close(folded, expected, rtol=1e-12, atol=1e-12)


def test_single_precision():
    """Rounding of the folded form stays far below one grey level."""
    torch.manual_seed(0)
    model = GhostEDSR(mid_channels=64, num_blocks=4, upscale_factor=2).eval()
    image = torch.rand(1, 3, 24, 20) * 255
    with torch.no_grad():
        expected = model(image)
        folded = copy.deepcopy(model).switch_to_deploy('fold')(image)
        assert torch.equal(model.switch_to_deploy('slice')(image), expected)
    torch.testing.assert_close(folded, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize('network, arguments', [
    (GhostRDN, dict(num_blocks=2, num_layers=3)), (GhostCARN, {}), (GhostCARN, dict(groups=2)),
    (GhostIMDN, dict(num_blocks=2)), (GhostEDSR, dict(num_blocks=2, ghost=dict(share_direction=False))),
    (GhostEDSR, dict(num_blocks=2, ghost=dict(max_shift=2, ratio=0.25))),
    (GhostEDSR, dict(num_blocks=2, ghost=dict(ratio=1)))])
@pytest.mark.parametrize('form', ['slice', 'fold'])
def test_other_networks(network, arguments, form):
    torch.manual_seed(0)
    model = network(**SMALL, **arguments).double().eval()
    expected, found = outputs(model, form)
    if form == 'slice':
        assert torch.equal(found, expected)
    else:
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_checkpoint_rebuilds_the_deployed_network():
    """Directions are data: a network built from a config alone takes them from the checkpoint."""
    deployed = ghost_edsr(True).switch_to_deploy('fold')
    fresh = GhostEDSR(num_blocks=9, res_scale=0.1, rgb_range=1., deploy='fold', **SMALL).double().eval()
    image = torch.rand(1, 3, 6, 6, dtype=torch.double)
    with torch.no_grad():
        fresh(image)  # folds the weights that are about to be replaced
        fresh.load_state_dict(deployed.state_dict())
        assert torch.equal(fresh(image), deployed(image))
        assert torch.equal(copy.deepcopy(fresh)(image), deployed(image))
    trained = ghost_edsr(True).state_dict()
    assert trained.keys() - deployed.state_dict().keys() == {k for k in trained if k.endswith('shift_weight')}
    single = deployed.float()(image.float())  # folded anew in the other precision
    assert single.dtype == torch.float32


def taps(offset, ghost):
    """Side lengths of the window behind a first layer with this direction; None: not folded."""
    model = deploy(nn.Sequential(nn.Sequential(
        GhostConv2d(8, 8, 3, padding=1, **ghost, direction=offset), nn.ReLU(inplace=True),
        GhostConv2d(8, 8, 3, padding=1, **ghost))), 'fold')
    with torch.no_grad():
        model(torch.rand(1, 8, 5, 5))
    folded = model[0]._folded
    return tuple(folded.weight.shape[-2:]) if isinstance(folded, FoldedConv) else None


def test_folding_never_costs_more():
    """Per intrinsic map and output 9, 12 or 16 taps instead of 18 at ratio 0.5; at 0.75 instead of 12."""
    assert [taps(o, {}) for o in [(0, 0), (1, 0), (0, -1), (-1, 1)]] == [(3, 3), (4, 3), (3, 4), (4, 4)]
    assert [taps(o, dict(ratio=0.75)) for o in [(0, 0), (1, 0), (1, 1)]] == [(3, 3), (4, 3), None]
    assert taps((2, 0), dict(max_shift=2)) is None


def test_what_is_replaced():
    model = GhostEDSR(num_blocks=2, **SMALL).switch_to_deploy()
    kinds = [type(m) for m in model.modules()]
    assert GhostConv2d not in kinds
    assert kinds.count(DeployedGhostConv2d) == 4
    assert kinds.count(DeployedResidualBlock) == kinds.count(GhostPair) == 2
    carn = GhostCARN(mid_channels=16).switch_to_deploy()
    assert sum(type(m) is DeployedResidualBlock for m in carn.modules()) == 9
    with pytest.raises(ValueError, match="form='fast'"):
        deploy(nn.Sequential(), 'fast')


def test_sigmoid_between_two_layers_is_left_alone():
    """It does not keep zeros, so it must see the ghost maps."""
    layers = [GhostConv2d(4, 4, 3, padding=1), nn.Sigmoid(), GhostConv2d(4, 4, 3, padding=1)]
    model = nn.Sequential(nn.Sequential(*layers)).eval()
    x = torch.rand(1, 4, 5, 5)
    with torch.no_grad():
        expected = model(x)
        assert torch.equal(deploy(model)(x), expected)
    assert type(model[0]) is nn.Sequential


def test_gradients_reach_the_input():
    model = ghost_edsr(False).switch_to_deploy('fold')
    x = torch.rand(1, 3, 4, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: model(t).mean(), x)
