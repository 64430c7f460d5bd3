"""Groups of channels, and that removing them is the same as setting them to zero."""

import pytest
import torch
from torch import nn

from projects.runtime.errors import ConfigError
from projects.seg_pruning import ChannelGraph, remove_channels
from projects.seg_pruning.channel_graph import outputs
from projects.seg_pruning.errors import TraceError
from projects.seg_pruning.removal import masked

SIZE = (40, 48)


def test_groups_of_deeplab(build, config):
    model = build(config())
    graph = ChannelGraph(model, SIZE)
    inner = [f'backbone.layer{stage}.{block}.conv1' for stage in (1, 2, 3, 4) for block in (0, 1)]
    branches = ['decode_head.image_pool.1.conv', *(f'decode_head.aspp_modules.{i}.conv' for i in range(3))]
    assert list(graph.groups) == [*inner, *branches, 'decode_head.bottleneck.conv']  # each branch for itself
    assert all(group.producers == [name] and [site.layer.rpartition('.')[0] for site in group.sites]
               == [name.rpartition('.')[0]] for name, group in graph.groups.items())
    assert [group.part for group in graph.groups.values()] == ['backbone'] * 8 + ['head'] * 5
    why = {name: group.fixed for name, group in graph.fixed.items()}
    assert why['decode_head.conv_seg'] == why['auxiliary_head.conv_seg'] == 'it is the output'
    assert why['auxiliary_head.convs.0.conv'] == 'auxiliary head'
    assert why['backbone.layer2.0.conv2'] == 'residual stream of 3 layers (prune_residual=False)'
    assert why['backbone.stem.0'] == 'kept by choice'


def test_residual_streams_are_one_group_a_stage(build, config):
    graph = ChannelGraph(build(config(depth=50, width=4)), SIZE, prune_residual=True)
    group = graph.groups['backbone.layer3.0.conv3']
    assert group.producers == ['backbone.layer3.0.conv3', 'backbone.layer3.0.downsample.0',
                               *(f'backbone.layer3.{i}.conv3' for i in range(1, 6))]
    assert len(group.sites) == 7 and group.channels == 4 * 4 * 4
    readers = {coupling.layer for coupling in group.couplings if coupling.side == 'in'}
    assert readers >= {'backbone.layer4.0.conv1', 'auxiliary_head.convs.0.conv'}


NETWORKS = dict(
    deeplab=(dict(), dict()),
    deeplab_all=(dict(depth=50, width=4), dict(prune_residual=True, keep=())),
    pspnet=(dict(head='PSPHead', pool_scales=(1, 2)), dict(prune_residual=True)),
    fcn_without_norm=(dict(head='FCNHead', num_convs=2, auxiliary=False), dict()))


@pytest.mark.parametrize('name', [*NETWORKS, 'mobile'])
def test_masked_is_removed(name, build, config, mobile, random_masks):
    options, choice = NETWORKS.get(name, ({}, dict(prune_residual=True, keep=())))
    settings = mobile if name == 'mobile' else config(**options)
    if name == 'fcn_without_norm':
        settings['decode_head']['norm_cfg'] = None
    model = build(settings).double()
    graph = ChannelGraph(model, SIZE, **choice)
    masks = random_masks(graph, seed=3)
    pruned, structure = remove_channels(model, graph, masks)
    image = torch.randn(2, 3, *SIZE, dtype=torch.double)
    with torch.no_grad():
        expected, found, whole = (outputs(net, image) for net in (masked(model, graph, masks), pruned, model))
    for zeroed, removed, dense in zip(expected, found, whole, strict=True):
        torch.testing.assert_close(removed, zeroed, atol=1e-10, rtol=0)
        assert removed.shape == dense.shape and (removed - dense).abs().max() > 1e-3
    for group, mask in masks.items():
        assert pruned.get_submodule(group).out_channels == mask.sum() == len(structure.groups[group]['kept'])


def test_concat_indices_of_the_pyramid(build, config, random_masks):
    """The bottleneck keeps, of each branch's columns, those of the branch's kept channels."""
    model = build(config(auxiliary=False))
    graph = ChannelGraph(model, SIZE)
    masks = random_masks(graph, seed=1)
    bottleneck = 'decode_head.bottleneck.conv'
    pruned, _ = remove_channels(model, graph, masks)
    branches = ['decode_head.image_pool.1.conv', *(f'decode_head.aspp_modules.{i}.conv' for i in range(3))]
    columns = torch.cat([masks[name] for name in branches])
    expected = model.get_submodule(bottleneck).weight[masks[bottleneck]][:, columns]
    assert torch.equal(pruned.get_submodule(bottleneck).weight, expected)


def test_the_model_stays_as_it_was(build, config, random_masks):
    model = build(config())
    model.backbone.train()
    model.backbone.layer1[0].with_cp = True
    model.backbone.stem.requires_grad_(False)  # a frozen beginning hides nothing from the trace
    before = {key: value.clone() for key, value in model.state_dict().items()}
    graph = ChannelGraph(model, SIZE)
    pruned, _ = remove_channels(model, graph, random_masks(graph))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.backbone.layer1.training and not model.decode_head.training and model.backbone.layer1[0].with_cp
    assert pruned.backbone.layer1.training and not pruned.decode_head.training
    assert not pruned.backbone.stem[0].weight.requires_grad and pruned.backbone.layer1[0].conv1.weight.requires_grad


class Detached(nn.Module):
    def forward(self, x):
        return x.detach()


class Flipped(nn.Module):
    """Mixes channels, which autograd shows as an element-wise function."""

    def forward(self, x):
        return x.flip(1)


def test_untraceable_models(build, config, random_masks):
    cut = build(config(auxiliary=False))
    cut.backbone.layer2[0].relu = Detached()
    with pytest.raises(TraceError, match=r'autograd does not lead from the output to backbone\.\S+ and \d+ other'):
        ChannelGraph(cut, SIZE)
    broken = build(config(auxiliary=False))
    broken.decode_head.bottleneck = nn.Conv2d(3, 16, 1)
    with pytest.raises(TraceError, match='EncoderDecoder: its graph cannot be traced: RuntimeError'):
        ChannelGraph(broken, SIZE)
    for strange in (Flipped(), nn.Sigmoid()):
        model = build(config(auxiliary=False))
        model.decode_head.bottleneck.activate = strange
        graph = ChannelGraph(model, SIZE)
        with pytest.raises(TraceError, match='differs from the one with the same channels set to zero'):
            remove_channels(model, graph, random_masks(graph))
    model = build(config(auxiliary=False))
    with pytest.raises(TraceError, match='no layer of it can be pruned .*kept by choice'):
        ChannelGraph(model, SIZE, keep=('backbone', 'decode_head'))


def test_missing_package_is_named(build, config, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'torch_pruning', None)
    with pytest.raises(ConfigError, match=r'pip install "mmdownstream\[prune\]"'):
        ChannelGraph(build(config()), SIZE)
