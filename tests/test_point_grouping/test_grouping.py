"""Hierarchical point grouping: PointGroup's clusters with one radius, and what holds for any number of levels."""

import json

import numpy as np
import pytest
import torch

from projects.point_grouping import HierarchicalPointGrouping


def sets(proposals, levels=None):
    """Candidates as frozen sets of points."""
    bounds = proposals.offsets.tolist()
    parts = [frozenset(proposals.idx[a:b, 1].tolist()) for a, b in zip(bounds, bounds[1:], strict=False)]
    return [part for part, level in zip(parts, proposals.levels.tolist(), strict=True) if levels in (None, level)]


def scene(count=1500, seed=0):
    """Noisy votes of twelve objects of four classes in two rooms: coordinates, offsets, labels, batch items."""
    generator = torch.Generator().manual_seed(seed)
    owner = torch.randint(12, (count,), generator=generator)
    centres = torch.rand(12, 3, generator=generator) * 1.5
    coords = torch.rand(count, 3, generator=generator) * 3
    offsets = centres[owner] + 0.04 * torch.randn(count, 3, generator=generator) - coords
    return coords, offsets, owner % 4 + 2, owner // 6


def grouping(**options):
    return HierarchicalPointGrouping(**dict(dict(radii=(0.03, 0.1, 0.3), min_npoint=1), **options)).eval()


@pytest.fixture(params=['centroid', 'points'])
def merge_on(request):
    return request.param


@pytest.mark.parametrize('least', [20, 50])
@pytest.mark.parametrize('original', [False, True])
def test_one_radius_gives_pointgroups_clusters(golden, least, original):
    """The official clustering, run on the same coordinates as shifted and as original ones."""
    data = np.load(golden / 'points3d' / 'pointgroup_ops.npz')
    xyz, labels, batch = (torch.from_numpy(data[key]) for key in ('xyz', 'semantic', 'batch_idxs'))
    offsets = torch.full_like(xyz, 7.) if original else torch.zeros_like(xyz)
    made = grouping(radii=(float(data['radius']),), min_npoint=least, use_original_coords=original, stuff_classes=())
    found = made(xyz, offsets, labels.long(), batch.long())
    bounds, members = data[f'clusters_offset_thr{least}'], data[f'clusters_idx_thr{least}'][:, 1]
    expected = [frozenset(members[a:b].tolist()) for a, b in zip(bounds, bounds[1:], strict=False)]
    assert sets(found, -1 if original else 0) == expected  # in the same order as well
    if not original:
        np.testing.assert_array_equal(found.offsets, bounds)
        np.testing.assert_array_equal(found.idx[:, 0], data[f'clusters_idx_thr{least}'][:, 0])


def test_levels_are_nested_partitions(merge_on):
    coords, offsets, labels, batch = scene()
    found = grouping(merge_on=merge_on, dedup=False)(coords, offsets, labels, batch)
    levels = [sets(found, level) for level in range(3)]
    for level in levels:
        assert sum(map(len, level)) == len(coords) and len(frozenset().union(*level)) == len(coords)
        assert [min(part) for part in level] == sorted(min(part) for part in level)
    assert len(levels[0]) > len(levels[1]) > len(levels[2])
    for small, large in zip(levels, levels[1:], strict=False):
        assert all(sum(part <= other for other in large) == 1 for part in small)


def test_a_candidate_is_of_one_class_and_one_scene(merge_on):
    coords, offsets, labels, batch = scene()
    found = grouping(merge_on=merge_on, use_original_coords=True)(coords, offsets, labels, batch)
    number, point = found.idx.unbind(1)
    assert torch.equal(labels[point], found.labels[number]) and torch.equal(batch[point], found.batch[number])
    assert torch.equal(number, torch.repeat_interleave(torch.arange(len(found)), found.sizes))


def test_batching_changes_nothing(merge_on):
    """Scenes at the same place in space give the groups that they give alone."""
    coords, offsets, labels, batch = scene()
    made = grouping(merge_on=merge_on)
    together = sets(made(coords, offsets, labels, batch))
    alone = []
    for item in range(2):
        points = (batch == item).nonzero()[:, 0]
        alone += [frozenset(points[list(part)].tolist()) for part in sets(made(*(
            x[points] for x in (coords, offsets, labels))))]
    assert sorted(together, key=sorted) == sorted(alone, key=sorted)


def test_translation_and_order_of_points(merge_on):
    coords, offsets, labels, batch = (x.double() if x.is_floating_point() else x for x in scene(600))
    made = grouping(merge_on=merge_on)
    found = made(coords, offsets, labels, batch)
    moved = made(coords + torch.tensor([2., -4., 8.]), offsets, labels, batch)
    assert sets(moved) == sets(found)
    order = torch.randperm(len(coords), generator=torch.Generator().manual_seed(1))
    other = made(coords[order], offsets[order], labels[order], batch[order])
    assert {frozenset(order[list(part)].tolist()) for part in sets(other)} == set(sets(found))


def test_unchanged_groups_are_listed_once(merge_on):
    coords, offsets, labels, batch = scene()
    every = grouping(merge_on=merge_on, dedup=False)(coords, offsets, labels, batch)
    once = grouping(merge_on=merge_on)(coords, offsets, labels, batch)
    assert len(set(sets(once))) == len(once) < len(every) and set(sets(once)) == set(sets(every))


def test_centroids_are_weighted_by_points():
    """Level 1 joins 90 points at 0 with 10 at 0.08 to a centroid at 0.008: a group at 0.3 is near 0.292, not 0.26."""
    x = torch.cat([torch.zeros(90), torch.full((10,), .08), torch.full((50,), .3)])
    coords = torch.stack([x, torch.zeros(150), torch.zeros(150)], 1)
    arguments = coords, torch.zeros_like(coords), torch.full((150,), 2)
    assert len(sets(grouping(radii=(.03, .1, .28))(*arguments), 2)) == 0
    assert [len(part) for part in sets(grouping(radii=(.03, .1, .295))(*arguments), 2)] == [150]


def test_small_groups_are_no_candidates_but_become_part_of_one():
    coords = torch.zeros(60, 3)
    coords[:30, 0], coords[30:, 0] = 1., 1.08
    arguments = coords, torch.zeros_like(coords), torch.full((60,), 5)
    found = grouping(min_npoint=50)(*arguments)
    assert found.levels.tolist() == [1] and found.sizes.tolist() == [60]


def test_stuff_and_unknown_points_are_left_out():
    coords, offsets, labels, batch = scene(300)
    labels[:100], labels[100:150] = 1, -1
    found = grouping()(coords, offsets, labels, batch)
    assert found.idx[:, 1].min() >= 150 and found.labels.min() >= 2


@pytest.mark.parametrize('count', [0, 1])
def test_hardly_any_foreground(count, merge_on):
    labels = torch.zeros(40, dtype=torch.int64)
    labels[:count] = 3
    found = grouping(merge_on=merge_on, use_original_coords=True)(torch.rand(40, 3), torch.zeros(40, 3), labels)
    assert found.idx.tolist() == [[0, 0], [1, 0]][:2 * count] and len(found) == 2 * count  # shifted and original


@pytest.mark.parametrize('cap_by', ['levels', 'random'])
def test_cap_while_training(cap_by):
    arguments = scene()
    made = grouping(max_train_proposals=30, cap_by=cap_by)
    every = made(*arguments)
    torch.manual_seed(0)
    kept = made.train()(*arguments)
    assert len(every) > 30 == len(kept) and set(sets(kept)) < set(sets(every))
    assert kept.levels.tolist() == sorted(kept.levels.tolist())
    if cap_by == 'levels':
        shares, there = (torch.bincount(x.levels, minlength=3) for x in (kept, every))
        assert all(share == min(int(count), share) >= min(10, int(count)) for share, count in zip(shares, there,
                                                                                              strict=True))
    assert len(grouping(max_train_proposals=None).train()(*arguments)) == len(every)


@pytest.mark.parametrize('options, words', [
    (dict(radii=(.1, .1)), 'rising'), (dict(radii=()), 'rising'), (dict(radii=(-.1,)), 'rising'),
    (dict(merge_on='votes'), 'merge_on'), (dict(cap_by='size'), 'cap_by'), (dict(min_npoint=0), 'min_npoint')])
def test_arguments_that_make_no_sense(options, words):
    with pytest.raises(ValueError, match=words):
        grouping(**options)


def test_diverged_offsets_are_named():
    with pytest.raises(ValueError, match='diverged'):
        grouping()(torch.zeros(5, 3), torch.full((5, 3), torch.nan), torch.full((5,), 4))


def test_benchmark(load_tool, tmp_path, monkeypatch, capsys):
    tool = load_tool('analysis_tools/benchmark_grouping.py')
    monkeypatch.setattr(torch, 'set_num_threads', lambda threads: None)  # other tests keep theirs
    tool.main(['--points', '2000', '4000', '--noise', '1', '--repeats', '1', '--json', str(tmp_path / 'out.json')])
    rows = json.loads((tmp_path / 'out.json').read_text())['rows']
    assert [(row['points'], row['candidates']) for row in rows] == [(2000, 25), (4000, 25)]
    assert 'candidates' in capsys.readouterr().out
