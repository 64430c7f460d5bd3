"""Voxelisation and segment reductions against stored outputs and their definitions."""

import pytest
import torch

from projects.points3d import segment_max, segment_mean, segment_min, segment_sum, voxelize


@pytest.fixture(scope='module')
def data(points3d_golden):
    return points3d_golden('pointgroup_ops')


def test_golden_voxelisation(data):
    voxels = voxelize(data['vox_in_coords'], data['vox_feats'])
    assert torch.equal(voxels.indices, data['vox_coords'])
    assert torch.equal(voxels.point_to_voxel, data['vox_input_map'].long())
    assert torch.equal(voxels.counts, data['vox_output_map'][:, 0].long())
    torch.testing.assert_close(voxels.features, data['vox_mean_feats'], rtol=0, atol=1e-6)
    for row, (voxel, members) in enumerate(zip(voxels.counts, data['vox_output_map'][:, 1:].long(), strict=True)):
        assert (voxels.point_to_voxel[members[:voxel]] == row).all()


def test_golden_segment_statistics(data):
    offsets = data['clusters_offset_thr20'].long()
    segments = torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff())
    count = len(offsets) - 1
    maxima, rows = segment_max(data['roi_feats'], segments, count)
    assert torch.equal(maxima, data['roi_max']) and torch.equal(rows, data['roi_argmax'].long())
    xyz = data['xyz'][data['clusters_idx_thr20'][:, 1].long()]
    torch.testing.assert_close(segment_mean(xyz, segments, count), data['sec_mean'], rtol=0, atol=1e-6)
    assert torch.equal(segment_min(xyz, segments, count)[0], data['sec_min'])
    assert torch.equal(segment_max(xyz, segments, count)[0], data['sec_max'])


def test_gathering_back_gives_each_point_the_mean_of_its_voxel():
    coords = torch.tensor([[0, 5, -1, 2], [1, 5, -1, 2], [0, 5, -1, 2], [0, 0, 0, 0]])
    features = torch.tensor([[1.0], [2.0], [4.0], [8.0]], requires_grad=True)
    voxels = voxelize(coords, features)
    back = voxels.features[voxels.point_to_voxel]
    assert back[:, 0].tolist() == [2.5, 2.0, 2.5, 8.0] and torch.equal(voxels.indices, coords[[0, 1, 3]])
    (back * torch.tensor([[1.0], [10.0], [100.0], [1000.0]])).sum().backward()
    assert features.grad[:, 0].tolist() == [50.5, 10, 50.5, 1000]


def test_voxelisation_without_points_or_features():
    voxels = voxelize(torch.zeros(0, 4, dtype=torch.int64))
    assert voxels.indices.shape == (0, 4) and voxels.features is None and len(voxels.point_to_voxel) == 0


def test_segments_in_any_order_and_empty_ones():
    torch.manual_seed(0)
    values, segments = torch.randn(40, 3), torch.randint(5, (40,))
    segments[segments == 2] = 4
    total, mean = segment_sum(values, segments, 6), segment_mean(values, segments, 6)
    (high, high_rows), (low, low_rows) = segment_max(values, segments, 6), segment_min(values, segments, 6)
    for k in range(6):
        own = values[segments == k]
        if not len(own):
            assert not torch.cat([total[k], mean[k], high[k], low[k]]).any()
            assert (high_rows[k] == -1).all() and (low_rows[k] == -1).all()
            continue
        torch.testing.assert_close(total[k], own.sum(0))
        torch.testing.assert_close(mean[k], own.mean(0))
        assert torch.equal(high[k], own.amax(0)) and torch.equal(low[k], own.amin(0))
        assert torch.equal(values[high_rows[k], torch.arange(3)], high[k]) and (segments[high_rows[k]] == k).all()


def test_the_first_of_equal_maxima_gets_the_gradient():
    values = torch.tensor([[1.0, 0], [3, 0], [3, -1], [2, 0]], requires_grad=True)
    maxima, rows = segment_max(values, torch.zeros(4).long(), 1)
    assert rows.tolist() == [[1, 0]]
    maxima.sum().backward()
    assert values.grad.tolist() == [[0, 1], [1, 0], [0, 0], [0, 0]]


def test_gradients_are_right():
    torch.manual_seed(0)
    values, segments = torch.randn(12, 2, dtype=torch.float64, requires_grad=True), torch.randint(4, (12,))
    for function in (segment_sum, segment_mean, lambda *a: segment_max(*a)[0], lambda *a: segment_min(*a)[0]):
        assert torch.autograd.gradcheck(lambda x, function=function: function(x, segments, 4), (values,))


def test_no_rows_at_all():
    values, segments = torch.zeros(0, 2), torch.zeros(0).long()
    assert not segment_mean(values, segments, 3).any() and (segment_max(values, segments, 3)[1] == -1).all()


def test_results_do_not_depend_on_the_number_of_threads(with_threads):
    torch.manual_seed(0)
    values, segments, coords = torch.randn(20000, 8), torch.randint(300, (20000,)), torch.randint(12, (20000, 4))

    def run():
        voxels = voxelize(coords, values)
        return (*segment_max(values, segments, 300), segment_mean(values, segments, 300), *voxels)
    for one, two in zip(with_threads(1, run), with_threads(2, run), strict=True):
        assert torch.equal(one, two)


def test_bad_input_is_refused():
    values = torch.zeros(2, 1)
    for make, words in [
            (lambda: voxelize(torch.zeros(2, 3).long()), r'coords of shape \(2, 3\).*expected \(N, 4\)'),
            (lambda: voxelize(torch.zeros(2, 4)), 'float32.*integers'),
            (lambda: voxelize(torch.zeros(2, 4).long(), torch.zeros(3, 1)), '3 rows of features for 2 points'),
            (lambda: voxelize(torch.tensor([[0, 0, 0, 0], [0, 1 << 30, 1 << 30, 1 << 30]])), 'far away'),
            (lambda: segment_mean(values, torch.zeros(2), 1), 'segments of shape .*float32.*integers'),
            (lambda: segment_sum(values, torch.tensor([0, 3]), 3), 'from 0 to 3, expected 0 to num_segments - 1 = 2'),
            (lambda: segment_max(values[0], torch.zeros(1).long(), 3), r'values of shape \(1,\).*expected \(S, C\)')]:
        with pytest.raises(ValueError, match=words):
            make()
