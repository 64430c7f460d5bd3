"""Sizes and costs of the ghost networks, which layers are ghosts, and that they learn."""

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from projects.ghost_sr import GhostCARN, GhostConv2d, GhostEDSR, GhostIMDN, GhostRDN

LARGE = dict(mid_channels=256, num_blocks=32, res_scale=0.1)
# network, arguments, scale, parameters with the nine of each window, multiply-adds in G at 1280 x 720
TABLE = [
    (GhostEDSR, LARGE, 2, 21_847_619, 5036.1), (GhostEDSR, LARGE, 3, 24_798_019, 2543.8),
    (GhostEDSR, LARGE, 4, 24_207_939, 1807.4),
    (GhostRDN, {}, 2, 11_503_619, 2650.1), (GhostRDN, {}, 3, 11_688_259, 1197.6), (GhostRDN, {}, 4, 11_651_331, 697.7),
]


def count_macs(model, image):
    """Multiply-adds of the convolutions, seen by hooks during one forward pass."""
    total = 0

    def count(layer, _, output):
        nonlocal total
        total += output.numel() * layer.weight[0].numel()

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.Conv2d)]
    model(image)
    for hook in hooks:
        hook.remove()
    return total


@pytest.mark.parametrize('network, arguments, scale, parameters, macs', TABLE)
def test_published_sizes_and_costs(network, arguments, scale, parameters, macs):
    with torch.device('meta'):
        model = network(upscale_factor=scale, **arguments).eval()
        counted = count_macs(model, torch.empty(1, 3, 120, 120)) / 1e9 * (1280 * 720) / (120 * scale) ** 2
        assert sum(p.numel() for p in model.parameters()) == parameters
        windows = sum(m.shift_weight.numel() for m in model.modules() if isinstance(m, GhostConv2d))
        deployed = model.switch_to_deploy()
        assert sum(p.numel() for p in deployed.parameters()) == parameters - windows
    assert counted == pytest.approx(macs, abs=0.05001)


@pytest.mark.parametrize('network, arguments, layers', [
    (GhostEDSR, dict(num_blocks=3), 6), (GhostRDN, dict(num_blocks=2, num_layers=3), 6), (GhostCARN, {}, 18),
    (GhostCARN, dict(groups=2), 6), (GhostIMDN, dict(num_blocks=2), 6)])
def test_trunk_layers_are_ghosts_and_learn(network, arguments, layers):
    torch.manual_seed(0)
    model = MODELS.build(dict(type=network.__name__, mid_channels=16, upscale_factor=2, ghost=dict(ratio=0.25),
                              **arguments))
    ghosts = [m for m in model.modules() if isinstance(m, GhostConv2d)]
    assert len(ghosts) == layers
    assert all(m.intrinsic_channels * 4 == m.out_channels for m in ghosts)
    out = model(torch.rand(2, 3, 7, 6))
    assert out.shape == (2, 3, 14, 12)
    out.square().mean().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert all(m.shift_weight.grad.abs().sum() > 0 for m in ghosts)


def test_a_direction_is_learned():
    """One layer, a target that is the map shifted by (0, 1): the direction is found, from the opposite one."""
    torch.manual_seed(0)
    layer = GhostConv2d(1, 2, 1, direction=(0, -1), bias=False)
    nn.init.ones_(layer.primary_conv.weight)
    layer.primary_conv.requires_grad_(False)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for step in range(150):
        layer.epoch = 1 + step
        image = torch.randn(4, 1, 8, 8)
        target = torch.cat([image[..., 1:], torch.zeros(4, 1, 8, 1)], -1)
        loss = (layer(image)[:, 1:] - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert layer.eval().offsets() == [(0, 1)]
    assert (layer(image)[:, 1:] - target).abs().max() == 0


def test_training_reduces_the_loss():
    torch.manual_seed(0)
    model = GhostEDSR(mid_channels=16, num_blocks=2, upscale_factor=2, rgb_range=1.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    target = nn.functional.interpolate(torch.rand(4, 3, 6, 6), scale_factor=4, mode='bicubic')
    image = nn.functional.avg_pool2d(target, 2)
    losses = []
    for _ in range(40):
        loss = (model(image) - target).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
