"""Losses: values and gradients of PointGroup's official code, and their edges."""

import numpy as np
import pytest
import torch

from projects.point_grouping import PointHead
from projects.point_grouping.losses import (
    dice_loss,
    mask_loss,
    offset_losses,
    offset_targets,
    score_loss,
    semantic_loss,
)
from projects.point_grouping.proposals import best_instances, score_targets


@pytest.fixture
def data(golden):
    stored = np.load(golden / 'points3d' / 'pointgroup_losses.npz')
    return {key: torch.from_numpy(np.asarray(stored[key])) for key in stored}


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_values_and_gradients_of_the_official_code(data):
    logits, offsets, scores = (data[key].requires_grad_() for key in ('semantic_scores', 'pt_offsets', 'score_logits'))
    inside = data['instance_labels'] != -100
    distance, direction = offset_losses(offsets, data['instance_info'][:, :3] - data['xyz'], inside)
    highest, _ = best_instances(data['ious'])
    losses = dict(semantic=semantic_loss(logits, data['semantic_labels']), offset_norm=distance, offset_dir=direction,
                  score=score_loss(scores[:, 0], score_targets(highest)))
    for name, value in losses.items():
        close(value, data[f'loss_{name}'])
    total = sum(losses.values())
    close(total, data['loss_total'])
    total.backward()
    for name, tensor in (('semantic_scores', logits), ('pt_offsets', offsets), ('score_logits', scores)):
        close(tensor.grad, data[f'grad_{name}'])


def test_point_head_weighs_the_same_losses(data):
    head = PointHead(20, in_channels=4, semantic_weight=2., offset_weight=3., direction_weight=.5)
    instances = data['instance_labels'].clamp(min=-1)
    count = int(instances.max()) + 1
    arguments = data['semantic_scores'], data['pt_offsets'], data['xyz'], data['semantic_labels'], instances, count
    found = head.loss(*arguments)
    distance, direction = offset_losses(data['pt_offsets'], *offset_targets(data['xyz'], instances, count))
    close(found['loss_semantic'], 2 * data['loss_semantic'])
    close(found['loss_offset'], 3 * distance)
    close(found['loss_direction'], direction / 2)
    head.weights['direction'] = 0
    assert set(head.loss(*arguments)) == {'loss_semantic', 'loss_offset'}


def test_offset_targets_lead_to_the_means():
    torch.manual_seed(0)
    coords = torch.randn(50, 3)
    instances = torch.arange(50) % 4 - 1
    targets, inside = offset_targets(coords, instances, 3)
    assert torch.equal(inside, instances >= 0) and not targets[~inside].any()
    for number in range(3):
        own = instances == number
        close(coords[own] + targets[own], coords[own].mean(0).expand(int(own.sum()), 3))


def test_nothing_to_learn_from_is_zero():
    """No labelled point, no instance, no proposal, no valid mask: 0 with a gradient of 0."""
    logits, offsets = torch.randn(5, 4, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    none = torch.full((5,), -1)
    losses = [semantic_loss(logits, torch.full((5,), -100)), *offset_losses(offsets, *offset_targets(
        torch.randn(5, 3), none, 0)), score_loss(logits[:0, 0], torch.zeros(0)), mask_loss(logits[:, 0], none.float()),
        dice_loss(logits[:, 0], none.float())]
    assert [float(loss.detach()) for loss in losses] == [0] * 6
    sum(losses).backward()
    assert not logits.grad.any() and not offsets.grad.any()


def test_masks():
    """By hand: two valid points of three, over their number + 1; dice of x = (.5, .75), y = (1, 0)."""
    logits, labels = torch.tensor([0., np.log(3), 9.], dtype=torch.float32), torch.tensor([1., 0., -1.])
    close(mask_loss(logits, labels), torch.tensor((np.log(2) + np.log(4)) / 3, dtype=torch.float32))
    close(dice_loss(logits, labels), torch.tensor(1 - 1 / (.25 + .5625 + 1), dtype=torch.float32))


def test_one_point_passes_a_head_in_training():
    logits, offsets = PointHead(7, in_channels=4).train()(torch.randn(1, 4))
    assert logits.shape == (1, 7) and offsets.shape == (1, 3)
    assert PointHead(7, in_channels=4, semantic_layers=1).semantic.weight.shape == (7, 4)
    with pytest.raises(ValueError, match='semantic_layers=3'):
        PointHead(7, semantic_layers=3)
