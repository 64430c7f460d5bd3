"""Multiply-adds and parameters: a published table, and counts that follow the channels."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from projects.seg_pruning import ChannelGraph, CostModel, latency_in_turns, remove_channels
from projects.seg_pruning.pipeline import narrowed

SIZE = (40, 48)


def deeplab(root, classes):
    """DeepLabv3 R-50 of the suite at full size, without memory."""
    cfg = Config.fromfile(root / 'configs/_base_/models/deeplabv3_r50.py').model
    cfg.decode_head.num_classes = cfg.auxiliary_head.num_classes = classes
    with torch.device('meta'):
        return MODELS.build(cfg)


@pytest.fixture(scope='module')
def voc(root):
    """The network for VOC."""
    return deeplab(root, 21)


def test_multiply_adds_of_deeplab(root):
    model = deeplab(root, 19)
    costs = [CostModel(model, size).dense() for size in ((512, 1024), (769, 769), (1024, 2048))]
    assert [round(cost.macs / 1e9, 1) for cost in costs] == [539.1, 619.0, 2156.3]
    assert costs[0].params / 1e6 == pytest.approx(65.75, abs=0.01)  # without the auxiliary head


def test_parts_of_deeplab(voc):
    model = CostModel(voc, (512, 512))
    parts = dict.fromkeys(('backbone.stem', 'backbone.layer1', 'backbone.layer2', 'backbone.layer3', 'backbone.layer4',
                           'decode_head'), 0)
    for name, layer in model.layers.items():
        for part in parts:
            parts[part] += layer.cost(0, 0)[0] if name.startswith(part) else 0
    assert [round(macs / 1e9, 2) for macs in parts.values()] == [1.87, 3.49, 5.37, 28.99, 61.2, 168.62]
    assert round(model.dense().macs / 1e9, 1) == 269.5


def test_uniform_shares_of_deeplab(voc):
    graph, costs = ChannelGraph(voc, (512, 512)), CostModel(voc, (512, 512))
    for share, left in ((0.75, 69.6), (0.65, 58.7), (0.57, 50.4), (0.5, 43.6)):
        masks = {name: torch.arange(group.channels) < round(share * group.channels)
                 for name, group in graph.groups.items()}
        assert 100 * costs.of(graph, masks).macs / costs.dense().macs == pytest.approx(left, abs=0.1)


@pytest.mark.parametrize('name', ['deeplab', 'mobile'])
def test_counted_is_what_removal_leaves(name, build, config, mobile, random_masks):
    model = build(mobile if name == 'mobile' else config())
    graph = ChannelGraph(model, SIZE, prune_residual=True, keep=())
    masks = random_masks(graph, seed=5)
    counted = CostModel(model, SIZE).of(graph, masks)
    pruned, _ = remove_channels(model, graph, masks)
    assert CostModel(pruned, SIZE).dense() == counted
    assert CostModel(narrowed(model, graph, masks), SIZE).dense() == counted
    inference = [p for key, p in pruned.named_parameters() if not key.startswith('auxiliary_head')]
    assert counted.params == sum(p.numel() for p in inference)


def test_latencies_come_for_each_network(build, config):
    model = build(config(auxiliary=False))
    model.train()
    times = latency_in_turns(dict(first=model, second=model), SIZE, repeats=1)
    assert list(times) == ['first', 'second'] and min(min(pair) for pair in times.values()) > 0 and model.training
