"""Ball query, furthest point sampling and three neighbours against their definitions."""

import pytest
import torch

from projects.points3d import ball_query, furthest_point_sample, neighbours, three_interpolate, three_nn


def cloud(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_golden_ball_query(points3d_golden):
    data = points3d_golden('pointgroup_ops')
    found, start_length = ball_query(data['xyz'], float(data['radius']), data['batch_idxs'])
    assert torch.equal(found, data['neighbor_idx'].long()) and torch.equal(start_length, data['start_len'].long())


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('cap', [5, 1000])
def test_ball_query_equals_brute_force(dtype, cap, monkeypatch):
    """Batch items stand in any order, and parts of the cloud are searched one after the other."""
    monkeypatch.setattr(neighbours, 'PAIRS_AT_ONCE', 500)
    points, batch = cloud(400, dtype=dtype), torch.randint(3, (400,), generator=torch.Generator().manual_seed(1))
    found, start_length = ball_query(points, 0.2, batch, max_neighbours=cap)
    squared = sum((axis[:, None] - axis) ** 2 for axis in points.unbind(1))
    near = (squared < points.new_tensor(0.2) ** 2) & (batch[:, None] == batch)
    for i, (start, length) in enumerate(start_length.tolist()):
        assert found[start:start + length].tolist() == near[i].nonzero()[:cap, 0].tolist()
    longest = int(start_length[:, 1].max())
    assert len(found) == start_length[:, 1].sum() and (longest == 5 if cap == 5 else longest > 5)


def test_ball_query_is_strict():
    points = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [0.25, 0, 0]])
    found, start_length = ball_query(points, 0.5)
    assert found.tolist() == [0, 2, 1, 2, 0, 1, 2] and start_length.tolist() == [[0, 2], [2, 2], [4, 3]]


def test_ball_query_without_points():
    found, start_length = ball_query(torch.zeros(0, 3), 1.0)
    assert found.shape == (0,) and start_length.shape == (0, 2)


def test_furthest_point_sample_equals_its_definition():
    points = cloud(3, 50, dtype=torch.float64)
    for item, chosen in zip(points, furthest_point_sample(points, 12).tolist(), strict=True):
        assert chosen[0] == 0
        for step in range(1, 12):
            assert chosen[step] == int(torch.cdist(item, item[chosen[:step]]).amin(1).argmax())


def test_furthest_point_sample_takes_every_point_of_a_whole_cloud():
    assert sorted(furthest_point_sample(cloud(1, 20), 20)[0].tolist()) == list(range(20))


@pytest.mark.parametrize('nearest', ['_nearest_on_cpu', '_nearest_directly'])
def test_three_nn_equals_brute_force(nearest, monkeypatch):
    """By tree, and as on a GPU."""
    monkeypatch.setattr(neighbours, '_nearest_on_cpu', getattr(neighbours, nearest))
    target, source = cloud(2, 30), cloud(2, 9, seed=1)
    distance, indices = three_nn(target, source)
    wanted, order = (target[:, :, None] - source[:, None]).norm(dim=3).topk(3, largest=False)
    torch.testing.assert_close(distance, wanted)
    assert torch.equal(indices, order)


def test_three_interpolate_equals_its_definition_and_has_gradients():
    torch.manual_seed(0)
    features, weight = torch.randn(2, 4, 9, dtype=torch.float64), torch.rand(2, 30, 3, dtype=torch.float64)
    indices = torch.randint(9, (2, 30, 3))
    output = three_interpolate(features, indices, weight)
    for b, i in ((0, 0), (1, 29)):
        torch.testing.assert_close(output[b, :, i], features[b][:, indices[b, i]] @ weight[b, i])
    inputs = features[:, :2].contiguous().requires_grad_(), indices, weight.requires_grad_()
    assert torch.autograd.gradcheck(three_interpolate, inputs)


def test_results_do_not_depend_on_the_number_of_threads(with_threads):
    points = cloud(2, 5000)

    def run():
        return (*ball_query(points[0], 0.05), furthest_point_sample(points, 64), *three_nn(points, points[:, :64]))
    for one, two in zip(with_threads(1, run), with_threads(2, run), strict=True):
        assert torch.equal(one, two)


def test_bad_input_is_refused():
    for make, words in [
            (lambda: ball_query(torch.zeros(2, 3), -1.0), 'radius=-1.0, expected a positive number'),
            (lambda: ball_query(torch.zeros(2, 3), 1.0, max_neighbours=0), 'max_neighbours=0, expected at least 1'),
            (lambda: furthest_point_sample(torch.zeros(2, 3), 1), r'\(2, 3\).*expected \(B, N, 3\)'),
            (lambda: furthest_point_sample(torch.zeros(1, 2, 3), 3), 'num_points=3, expected 1 to 2'),
            (lambda: three_nn(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)), 'at least 3 source points'),
            (lambda: three_interpolate(torch.zeros(1, 2, 3), torch.zeros(1, 2, 2).long(), torch.zeros(1, 2, 3)),
             r'indices \(1, 2, 2\).*expected \(B, C, M\)')]:
        with pytest.raises(ValueError, match=words):
            make()
