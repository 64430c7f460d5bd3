"""Scores as gates, folded, and removed."""

import copy

import pytest
import torch
from mmengine.model import revert_sync_batchnorm

from projects.runtime.errors import ConfigError
from projects.seg_pruning import ChannelGraph, remove_channels
from projects.seg_pruning.channel_graph import outputs
from projects.seg_pruning.scores import ChannelScores, fold, remove_gates

SIZE = (40, 48)


@pytest.fixture
def scored(build, config):
    """A network with gates, its graph and random scores, and its plain twin."""
    model = build(config(depth=50, width=4)).double()
    plain = copy.deepcopy(model)
    graph = ChannelGraph(model, SIZE, prune_residual=True)
    scores = ChannelScores(graph).double()
    with torch.no_grad():
        for _, score in scores.items():
            score.uniform_(0.2, 1.7)
    assert scores.attach(model) == sum(len(group.sites) for group in graph.groups.values())
    return model, plain, graph, scores


def run(model):
    with torch.no_grad():
        return outputs(model, torch.randn(2, 3, *SIZE, dtype=torch.double,
                                          generator=torch.Generator().manual_seed(2)))


def same(first, second):
    return all(torch.allclose(a, b, atol=1e-10, rtol=0) for a, b in zip(first, second, strict=True))


def test_folded_scores_keep_the_outputs(scored):
    model, plain, graph, scores = scored
    expected = run(model)
    assert not same(run(plain), expected)
    fold(plain, graph, {name: score.detach() for name, score in scores.items()})
    assert same(run(plain), expected)


def test_scores_of_zero_are_removed_channels(scored, random_masks):
    model, plain, graph, scores = scored
    masks = random_masks(graph, seed=4)
    with torch.no_grad():
        for name, score in scores.items():
            score.mul_(masks[name])
    expected = run(model)
    fold(plain, graph, {name: score.detach() for name, score in scores.items()})
    pruned, _ = remove_channels(plain, graph, masks)
    assert same(run(pruned), expected)


def test_gates_are_attached_once_and_taken_off(scored):
    model, plain, _, scores = scored
    expected = run(model)
    scores.attach(model)
    assert same(run(model), expected)
    remove_gates(model)
    assert same(run(model), run(plain))


def test_copies_have_scores_of_their_own(scored):
    """An averaged copy of the model (EMA) scales by the copied scores."""
    model, _, _, scores = scored
    both = torch.nn.ModuleDict(dict(model=model, scores=scores))
    expected, twin = run(model), copy.deepcopy(both)
    with torch.no_grad():
        for _, score in scores.items():
            score.zero_()
    assert same(run(twin['model']), expected) and not same(run(model), expected)


def test_conversion_of_layers_takes_gates_off_and_attach_puts_them_back(build, config):
    model = build(config(norm=dict(type='SyncBN', requires_grad=True), auxiliary=False)).double()
    graph = ChannelGraph(model, SIZE)
    scores = ChannelScores(graph).double()
    scores.attach(model)
    with torch.no_grad():
        scores['decode_head.bottleneck.conv'].zero_()
    model = revert_sync_batchnorm(model)
    scores.attach(model)
    [logits] = run(model)
    assert torch.allclose(logits, model.decode_head.conv_seg.bias.view(1, -1, 1, 1).expand_as(logits))


def test_batch_norm_without_scale_is_named(build, config):
    model = build(config())
    graph = ChannelGraph(model, SIZE)
    layer = model.backbone.layer1[0].bn1
    layer.weight = layer.bias = None
    with pytest.raises(ConfigError, match=r'backbone\.layer1\.0\.bn1: a batch norm without scale'):
        fold(model, graph, {name: torch.ones(group.channels) for name, group in graph.groups.items()})
