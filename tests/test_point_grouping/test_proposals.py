"""Proposals against instances and against each other: the official code's numbers, and their edges."""

import numpy as np
import pytest
import torch

from projects.point_grouping import Proposals
from projects.point_grouping.proposals import (
    best_instances,
    instance_ious,
    mask_labels,
    mask_nms,
    pairwise_ious,
    score_targets,
)


def made_of(idx, offsets):
    """Proposals of rows and bounds; class, scene and level do not matter here."""
    idx, offsets = torch.as_tensor(idx).long(), torch.as_tensor(offsets).long()
    numbers = torch.arange(len(offsets) - 1)
    return Proposals(idx, offsets, numbers % 3, numbers * 0, numbers * 0)


def of_masks(masks):
    idx = torch.as_tensor(masks).nonzero()
    return made_of(idx, torch.cat([torch.zeros(1), torch.as_tensor(masks).sum(1).cumsum(0)]))


@pytest.fixture
def data(golden):
    stored = np.load(golden / 'points3d' / 'pointgroup_ops.npz')
    return {key: torch.from_numpy(np.asarray(stored[key])) for key in stored}


@pytest.fixture
def proposals(data):
    return made_of(data['clusters_idx_thr20'], data['clusters_offset_thr20'])


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_ious_and_mask_labels(data, proposals):
    instances = data['instance_labels']
    rows = data['mask_scores_sigmoid'] > 0.5
    for ious, mode in ((instance_ious(proposals, instances, data['instance_pointnum']), 'cluster'),
                       (instance_ious(proposals, instances, data['instance_pointnum'], rows), 'mask')):
        close(ious, data['ious' if mode == 'cluster' else 'ious_on_mask'])
        assert torch.equal(mask_labels(proposals, instances, ious), data[f'mask_label_{mode}_mode'])


def test_score_targets(data):
    highest, _ = best_instances(data['ious'])
    close(score_targets(highest), data['score_target_fg75_bg25'])
    # the official function of HAIS has 1e-5 in two denominators
    torch.testing.assert_close(score_targets(highest, 0, 1), data['score_target_hais_fg1_bg0'], rtol=0, atol=2e-5)


def test_mask_nms(data):
    found = pairwise_ious(of_masks(data['nms_masks']))
    close(found, data['nms_ious'])
    assert mask_nms(found, data['nms_scores'], 0.3).tolist() == data['nms_pick_thr03'].tolist()


def test_nms_keeps_the_first_of_equal_scores_and_its_threshold_is_strict():
    ious = torch.tensor([[1., .3, .5], [.3, 1., .2], [.5, .2, 1.]])
    assert mask_nms(ious, torch.ones(3), .3).tolist() == [0, 1]
    assert mask_nms(ious, torch.tensor([.1, .2, .9]), .29).tolist() == [2, 1]


def test_without_instances_or_proposals(proposals, data):
    none = torch.full_like(data['instance_labels'], -1)
    ious = instance_ious(proposals, none, torch.zeros(0, dtype=torch.int64))
    assert ious.shape == (11, 0)
    assert not score_targets(best_instances(ious)[0]).any()
    assert (mask_labels(proposals, none, ious) == -1).all()
    empty = proposals.select(torch.zeros(0, dtype=torch.int64))
    assert len(empty) == 0 and empty.masks(0, 5).shape == (0, 5) and pairwise_ious(empty).shape == (0, 0)
    assert instance_ious(empty, none, data['instance_pointnum']).shape == (0, 11)
    assert mask_nms(torch.zeros(0, 0), torch.zeros(0)).tolist() == []


def test_select_refine_and_masks():
    masks = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 1]]).bool()
    proposals = of_masks(masks)
    assert torch.equal(proposals.masks(0, 4), masks) and proposals.sizes.tolist() == [2, 3, 1]
    chosen = proposals.select(torch.tensor([2, 1]))
    assert torch.equal(chosen.masks(0, 4), masks[[2, 1]]) and chosen.labels.tolist() == [2, 1]
    refined = proposals.refine(proposals.idx[:, 1] < 2)
    assert torch.equal(refined.masks(0, 4), masks & (torch.arange(4) < 2)) and refined.sizes.tolist() == [2, 1, 0]
    assert torch.equal(chosen.select(torch.tensor([0])).masks(2, 4), masks[2:, 2:])  # of points 2 and 3
