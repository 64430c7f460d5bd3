"""Connected components are those of the graph that all pairs of points make."""

import math
import time

import pytest
import torch
from scipy.sparse.csgraph import connected_components as graph_components

from projects.points3d import clustering, connected_components


def votes(count, noise, objects=25, seed=0):
    """Points that vote for the centres of objects in a room of 6 x 5 x 2 m; with the objects' labels."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(objects, 3, generator=generator) * torch.tensor([6.0, 5.0, 2.0])
    labels = torch.randint(2, 20, (objects,), generator=generator)
    owner = torch.randint(objects, (count,), generator=generator)
    return centres[owner] + noise * torch.randn(count, 3, generator=generator), labels[owner]


def brute_force(points, radius, *ids):
    """All pairs, in the same precision; numbered by the lowest point."""
    total = torch.zeros(len(points), len(points), dtype=points.dtype)
    for axis in points.unbind(1):
        total += (axis[:, None] - axis) ** 2
    linked = total < points.new_tensor(radius) ** 2
    for column in ids:
        linked &= column[:, None] == column
    raw = torch.from_numpy(graph_components(linked.numpy(), directed=False)[1]).tolist()
    number = {}
    return torch.tensor([number.setdefault(i, len(number)) for i in raw])


def same_sets(components, wanted):
    """Whether the components' point sets are the wanted ones, a list of index lists."""
    found = [torch.nonzero(components == k)[:, 0].tolist() for k in range(int(components.max()) + 1)]
    return sorted(found) == sorted(sorted(one) for one in wanted)


def test_golden_clusters(points3d_golden):
    """PointGroup's clusters of at least 20 and 50 points, from its compiled search."""
    data = points3d_golden('pointgroup_ops')
    found = connected_components(data['xyz'], float(data['radius']), data['batch_idxs'], data['semantic'])
    for least in (20, 50):
        offsets = data[f'clusters_offset_thr{least}'].long()
        wanted = [part.tolist() for part in data[f'clusters_idx_thr{least}'][:, 1].split(offsets.diff().tolist())]
        large = torch.bincount(found)[found] >= least
        kept = torch.full_like(found, -1)
        kept[large] = found[large].unique(return_inverse=True)[1]
        assert same_sets(kept, wanted)


@pytest.mark.parametrize('noise', [0.001, 0.01, 0.03, 0.06, 0.2])
@pytest.mark.parametrize('seed', range(3))
def test_equals_brute_force(noise, seed):
    points, labels = votes(1500, noise, objects=6, seed=seed)
    batch = torch.randint(2, (1500,), generator=torch.Generator().manual_seed(seed))
    found = connected_components(points, 0.03, batch, labels)
    assert torch.equal(found, brute_force(points, 0.03, batch, labels))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('tree_from', [1, 1 << 40], ids=['tree', 'pairs'])
def test_links_that_only_a_pair_of_inner_points_has(dtype, tree_from, monkeypatch):
    """Dense cubes whose first points are far apart, with gaps on both sides of the radius."""
    monkeypatch.setattr(clustering, 'TREE_FROM', tree_from)
    monkeypatch.setattr(clustering, 'PAIRS_AT_ONCE', 1000)
    generator = torch.Generator().manual_seed(0)
    line = torch.arange(40) * 0.044  # gaps of 0.031 down to 0.022 between blobs of 0.013 to 0.022 across
    blobs = torch.rand(40, 40, 3, generator=generator, dtype=torch.float64)
    blobs = blobs * torch.linspace(0.013, 0.022, 40)[:, None, None] + line[:, None, None] * torch.tensor([1.0, 0, 0])
    points = blobs.reshape(-1, 3)[torch.randperm(1600, generator=generator)].to(dtype)
    found = connected_components(points, 0.03)
    assert torch.equal(found, brute_force(points, 0.03)) and 1 < int(found.max()) < 39


def test_a_pair_at_exactly_the_radius_is_not_linked():
    points = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [0.5, 0.499, 0], [0.5, 0.499, 0.5]])
    assert connected_components(points, 0.5).tolist() == [0, 1, 1, 2]


def test_components_are_numbered_by_their_lowest_point():
    points, labels = votes(3000, 0.06, seed=5)
    found = connected_components(points, 0.03, labels=labels)
    firsts = [int((found == k).nonzero()[0]) for k in range(int(found.max()) + 1)]
    assert firsts == sorted(firsts)


def test_moving_and_shuffling_points_changes_nothing():
    points, labels = votes(2000, 0.03, seed=2)
    points = (points * 1024).round() / 1024  # so that a shift is exact in float32
    found = connected_components(points, 0.03, labels=labels)
    assert torch.equal(connected_components(points + 16, 0.03, labels=labels), found)
    order = torch.randperm(2000, generator=torch.Generator().manual_seed(1))
    shuffled = connected_components(points[order], 0.03, labels=labels[order])
    assert same_sets(shuffled, [(found[order] == k).nonzero()[:, 0].tolist() for k in range(int(found.max()) + 1)])


def test_batch_and_label_part_what_is_in_one_place():
    points = torch.zeros(6, 3)
    ids = torch.tensor([-5, 1 << 40, 3, 3, 1 << 40, -5])
    assert connected_components(points, 1.0).tolist() == [0] * 6
    assert connected_components(points, 1.0, labels=ids).tolist() == [0, 1, 2, 2, 1, 0]
    assert connected_components(points, 1.0, batch=ids).tolist() == [0, 1, 2, 2, 1, 0]
    assert connected_components(points, 1.0, torch.arange(6) // 3, ids).tolist() == [0, 1, 2, 3, 4, 5]


def test_points_very_far_away_do_not_overflow():
    points = torch.tensor([[0.0, 0, 0], [1e30, 0, 0], [0.01, 0, 0], [-1e30, 1e30, -1e30], [1e30, 0, 0], [5.0, 0, 0]])
    assert connected_components(points, 0.03).tolist() == [0, 1, 0, 2, 1, 3]
    assert connected_components(points.double(), 0.03).tolist() == [0, 1, 0, 2, 1, 3]
    assert connected_components(points.clamp(-1e9, 1e9), 0.03).tolist() == [0, 1, 0, 2, 1, 3]


@pytest.mark.parametrize('count', [0, 1])
def test_few_points(count):
    found = connected_components(torch.zeros(count, 3), 1.0)
    assert found.tolist() == [0] * count and found.dtype == torch.int64


def test_concentrated_votes_stay_fast():
    """30,000 points, all pairs of which are neighbours: lists would have 900 million entries."""
    points = 1e-3 * torch.rand(30_000, 3, generator=torch.Generator().manual_seed(0))
    begin = time.process_time()
    assert not connected_components(points, 0.03).any()
    assert time.process_time() - begin < 2  # takes 0.01


def test_two_sheets_just_too_far_apart_stay_fast():
    """No link between them, and every cube of one is near some of the other."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(40_000, 3, generator=generator) * torch.tensor([0.5, 0.5, 0.0])
    points[::2, 2] = 0.0301
    begin = time.process_time()
    assert connected_components(points, 0.03).tolist() == [0, 1] * 20_000
    assert time.process_time() - begin < 5


@pytest.mark.parametrize('points, radius, ids, words', [
    (torch.zeros(2, 2), 1.0, {}, r'points of shape \(2, 2\).*expected \(N, 3\)'),
    (torch.zeros(2, 3).long(), 1.0, {}, 'int64.*floating-point'),
    (torch.tensor([[0.0, 0, 0], [0, math.nan, 0]]), 1.0, {}, 'point 1 is .*nan.*finite'),
    (torch.zeros(2, 3), 0.0, {}, 'radius=0.0, expected a positive number'),
    (torch.zeros(2, 3), 1.0, dict(labels=torch.zeros(3).long()), r'labels of shape \(3,\).*expected \(2,\)'),
    (torch.zeros(2, 3), 1.0, dict(batch=torch.zeros(2)), 'batch of shape .*float32.*integers')])
def test_bad_input_is_refused(points, radius, ids, words):
    with pytest.raises(ValueError, match=words):
        connected_components(points, radius, **ids)
