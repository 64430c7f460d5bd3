"""MaskScoreNet: proposals on grids of their own, masks that decide what scores see, and what is learnt from what."""

import pytest
import torch

from projects.point_grouping import MaskScoreHead, Proposals
from projects.point_grouping.losses import mask_loss, score_loss
from projects.point_grouping.mask_score_head import voxelize_proposals
from projects.point_grouping.proposals import best_instances, instance_ious, mask_labels, score_targets

CHANNELS = 4


def proposals_of(*members):
    sizes = torch.tensor([len(part) for part in members], dtype=torch.int64)
    numbers = torch.arange(len(members))
    idx = torch.stack([numbers.repeat_interleave(sizes), torch.cat(members) if members else numbers], 1)
    return Proposals(idx, torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)]), numbers + 2, numbers * 0,
                     numbers * 0)


@pytest.fixture
def scene():
    """Features and coordinates of 300 points in three instances (80, 100, 100) and none; four nested proposals."""
    torch.manual_seed(0)
    instances = torch.cat([torch.full((20,), -1), torch.arange(3).repeat_interleave(torch.tensor([80, 100, 100]))])
    coords = torch.rand(300, 3) * torch.tensor([.6, .3, .9]) + 2 * instances[:, None]
    every = torch.arange(300)
    made = proposals_of(every[20:100], every[:110], every[100:180], every[100:300])
    return torch.rand(300, CHANNELS), coords, made, instances


def head(**options):
    torch.manual_seed(1)
    return MaskScoreHead(**dict(dict(in_channels=CHANNELS, blocks=1), **options))


@pytest.mark.parametrize('shift', [None, torch.zeros(3), torch.tensor([.3, .999, 1.])])
def test_proposals_fill_their_grids(shift):
    """A large one spans the grid along its longest axis; a small one has voxels of 1 / max_scale."""
    torch.manual_seed(0)
    coords = torch.rand(400, 3) * torch.tensor([2., 1., .5])
    coords[200:] = torch.rand(200, 3) * .1 + 7
    voxels = voxelize_proposals(torch.rand(400, 2), coords, proposals_of(torch.arange(200), torch.arange(200, 400)),
                                grid=20, max_scale=50, shift=shift)
    cells = voxels.indices[voxels.point_to_voxel]
    assert cells[:, 1:].min() >= 0 and cells[:, 1:].max() < 20
    spans = [(own.amax(0) - own.amin(0)).tolist() for own in (cells[:200, 1:], cells[200:, 1:])]
    assert spans[0][0] >= 18 and 8 <= spans[0][1] <= 11 and all(3 <= span <= 5 for span in spans[1])
    if shift is None:
        assert (cells[:200].amin(0)[1:] == 0).all() and (cells[200:].amin(0)[1:] == 0).all()


def test_voxels_are_means_of_their_own_proposal_and_pass_gradients():
    coords = torch.zeros(6, 3)  # all in one place: one voxel for each proposal, whatever its extent of 0
    features = torch.arange(6.)[:, None].requires_grad_()
    voxels = voxelize_proposals(features, coords, proposals_of(torch.arange(4), torch.tensor([1, 5])))
    assert voxels.indices.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0]] and voxels.features[:, 0].tolist() == [1.5, 3.]
    voxels.features.sum().backward()
    assert features.grad[:, 0].tolist() == [.25, .75, .25, .25, 0, .5]


def test_a_proposal_is_judged_alone(scene):
    features, coords, made, _ = scene
    network = head().eval()
    masks, scores = network(features, coords, made, True)
    some, own = network(features, coords, made.select(torch.tensor([3, 1])), True)
    torch.testing.assert_close(own, scores[[3, 1]])
    parts = masks.split(made.sizes.tolist())
    torch.testing.assert_close(some, torch.cat([parts[3], parts[1]]))


def test_evaluation_is_deterministic_and_training_shifts_the_grids(scene):
    features, coords, made, _ = scene
    network = head().eval()
    first, again = (network(features, coords, made, False)[1] for _ in range(2))
    assert torch.equal(first, again)
    network.train()
    for module in network.modules():  # running statistics in training too, so that the shift alone is seen
        if isinstance(module, torch.nn.BatchNorm1d):
            module.eval()
    assert not torch.equal(network(features, coords, made, False)[1], network(features, coords, made, False)[1])


def test_scores_see_the_masks_after_the_warm_up(scene):
    """A mask of everything changes nothing, a mask of nothing leaves the bias, and no gradient reaches the mask."""
    features, coords, made, _ = scene
    network = head().eval()
    for bias, kept in ((9., True), (-9., False)):
        torch.nn.init.zeros_(network.mask[2].weight)
        network.mask[2].bias.data.fill_(bias)
        before, after = (network(features, coords, made, mask_scores)[1] for mask_scores in (False, True))
        assert torch.equal(after, before if kept else network.score.bias.expand(4))
    after.sum().backward()
    assert network.mask[2].bias.grad is None


@pytest.mark.parametrize('mask_scores', [False, True])
def test_losses(scene, mask_scores):
    """Of the outputs, with IoUs of whole groups before the warm-up, of masks after it."""
    features, coords, made, instances = scene
    network = head(mask_weight=2., score_weight=3., score_ious=(0., 1.)).eval()
    found = network.loss(features, coords, made, instances, 3, mask_scores)
    masks, scores = network(features, coords, made, mask_scores)
    ious = instance_ious(made, instances, torch.tensor([80, 100, 100]), masks > 0 if mask_scores else None)
    if not mask_scores:  # by hand: all of the first, 80 of 110, 80 of 100, half of 200
        torch.testing.assert_close(ious.amax(1), torch.tensor([1., 80 / 110, .8, .5]), atol=1e-5, rtol=0)
    highest, _ = best_instances(ious)
    torch.testing.assert_close(found['loss_score'], 3 * score_loss(scores, score_targets(highest, 0, 1)))
    torch.testing.assert_close(found['loss_mask'], 2 * mask_loss(masks, mask_labels(made, instances, ious)))
    assert found['num_proposals'] == 4 and found['proposal_iou'] == highest.mean()
    assert 'loss_dice' not in found and 'loss_dice' in head(dice_weight=1.).loss(
        features, coords, made, instances, 3, mask_scores)


def test_without_masks(scene):
    features, coords, made, instances = scene
    network = head(with_mask=False)
    assert not any(name.startswith('mask') for name, _ in network.named_parameters())
    assert network(features, coords, made, True)[0] is None
    assert set(network.loss(features, coords, made, instances, 3, True)) == {
        'loss_score', 'num_proposals', 'proposal_iou'}


def test_without_proposals(scene):
    features, coords, _, instances = scene
    found = head().loss(features, coords, proposals_of(), instances, 3, True)
    assert all(value == 0 for value in found.values())


def test_it_learns_which_points_belong_to_another_instance(scene):
    """Features tell the instance; the mask of a proposal with points of three owners learns the largest."""
    _, coords, made, instances = scene
    features = torch.nn.functional.one_hot(instances + 1, CHANNELS).float()
    made = made.select(torch.tensor([1, 2]))
    network = head()
    optimizer = torch.optim.Adam(network.parameters(), 2e-2)
    for _ in range(30):
        optimizer.zero_grad()
        losses = network.loss(features, coords, made, instances, 3, False)
        (losses['loss_mask'] + losses['loss_score']).backward()
        optimizer.step()
    masks, _ = network(features, coords, made, True)
    owner = instances[:110]
    assert masks[:110][owner == 0].mean() > masks[:110][owner != 0].mean() + 1
    assert losses['loss_score'] < .25 and losses['loss_mask'] < .5


@pytest.mark.parametrize('options, words', [
    (dict(widths=(8, 16)), 'expected 4'), (dict(score_ious=(.75, .25)), 'score_ious'), (dict(grid=1), 'grid=1')])
def test_arguments_that_make_no_sense(options, words):
    with pytest.raises(ValueError, match=words):
        head(**options)
