"""PointNet++'s operators against their definitions."""

import pytest
import torch

from projects.points3d import ball_query_padded, gather_points, group_points


def clouds(count, seed=0, dtype=torch.float32):
    return torch.rand(2, count, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def by_definition(points, centres, radius, number, min_radius):
    """mmcv's kernel, point by point."""
    found = torch.zeros(len(points), centres.shape[1], number, dtype=torch.int64)
    squared = (points[:, None] - centres[:, :, None]).pow(2).sum(3)
    hits = (squared == 0) | ((squared >= min_radius ** 2) & (squared < radius ** 2))
    for item, rows in enumerate(hits):
        for centre, row in enumerate(rows):
            own = row.nonzero()[:number, 0]
            if len(own):
                found[item, centre] = own[0]
                found[item, centre, :len(own)] = own
    return found


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('min_radius', [0., 0.1])
def test_balls_are_those_of_the_definition(dtype, min_radius):
    """Full balls, balls that repeat their first point, and empty ones, which take point 0."""
    points = clouds(150, dtype=dtype)
    centres = torch.cat([points[:, :30], points[:, :5] + 5], 1)
    found = ball_query_padded(points, centres, 0.25, 8, min_radius)
    assert torch.equal(found, by_definition(points, centres, 0.25, 8, min_radius))
    assert not found[:, 30:].any() and (found[:, :30].diff() > 0).all(2).any() and (found[:, :30].diff() < 0).any()


def test_a_point_on_the_surface_is_outside():
    points = torch.tensor([[[0.5, 0, 0], [0.25, 0, 0]]])
    assert ball_query_padded(points, torch.zeros(1, 1, 3), 0.5, 2).tolist() == [[[1, 1]]]


def test_gathering_and_its_gradient():
    features = torch.arange(12.).view(1, 3, 4).requires_grad_()
    index = torch.tensor([[[1, 1], [3, 1]]])
    grouped = group_points(features, index)
    assert grouped.tolist() == features[0][:, index[0]][None].tolist()
    assert torch.equal(gather_points(features, index[:, 0]), grouped[:, :, 0])
    grouped.sum().backward()
    assert features.grad[0, 0].tolist() == [0, 3, 0, 1]


@pytest.mark.parametrize('options, words', [
    (dict(radius=0.1, min_radius=0.1), 'min_radius < radius'), (dict(num_neighbours=0), 'at least one'),
    (dict(centres=torch.zeros(3, 4, 3)), 'same batch size')])
def test_arguments_that_make_no_sense(options, words):
    with pytest.raises(ValueError, match=words):
        ball_query_padded(**dict(dict(points=clouds(5), centres=clouds(2), radius=1., num_neighbours=2), **options))
