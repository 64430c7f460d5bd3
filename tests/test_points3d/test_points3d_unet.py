"""The U-Net reproduces the official one, and runs where that one raises."""

import pytest
import torch

from projects.points3d import SparseTensor, SparseUNet


@pytest.fixture(scope='module')
def data(points3d_golden):
    return points3d_golden('pointgroup_unet')


@pytest.fixture
def net(data):
    net = SparseUNet(data['feats'].shape[1], data['channels'].tolist())
    net.load_state_dict({name[2:]: value.clone() for name, value in data.items() if name.startswith('w:')},
                        strict=False)
    return net


def tensor(data, features):
    return SparseTensor(features, data['coords'], data['spatial_shape'], int(data['batch_size']))


def test_parameter_names_are_the_official_ones(data):
    """All weights and running statistics, and nothing else but the counters of the normalisation layers."""
    net = SparseUNet(data['feats'].shape[1], data['channels'].tolist())
    names = {name for name in net.state_dict() if not name.endswith('num_batches_tracked')}
    assert names == {name[2:] for name in data if name.startswith('w:')}


def test_golden_evaluation(net, data):
    with torch.no_grad():
        output = net.eval()(tensor(data, data['feats'])).features
    torch.testing.assert_close(output, data['out_eval'], rtol=0, atol=1e-4)


def test_golden_training(net, data):
    features = data['feats'].clone().requires_grad_()
    output = net.train()(tensor(data, features)).features
    torch.testing.assert_close(output, data['out_train'], rtol=0, atol=1e-4)
    (output * data['grad_out']).sum().backward()
    expected = {name[2:]: value for name, value in data.items() if name.startswith('g:')}
    found = {name: value.grad for name, value in net.named_parameters()}
    for grad, given in [(features.grad, data['grad_feats']), *((found[name], expected[name]) for name in expected)]:
        torch.testing.assert_close(grad, given, rtol=0, atol=1e-3 * given.abs().max().item())


@pytest.mark.parametrize('m, count', [(16, 7_532_096), (32, 30_106_240)])
def test_number_of_parameters_is_the_official_one(m, count):
    """Counted there without the last normalisation (2 m)."""
    with torch.device('meta'):
        net = SparseUNet(6, [m * level for level in range(1, 8)])
    assert sum(p.numel() for p in net.parameters()) == count + 2 * m


@pytest.mark.parametrize('count', [0, 1, 2])
@pytest.mark.parametrize('training', [False, True])
def test_few_voxels(count, training):
    """Training with one voxel is training with the running statistics, not an error."""
    net = SparseUNet(2, [2, 3, 4], blocks=1).train(training)
    indices = torch.tensor([[0, 0, 0, 0], [0, 7, 7, 7]])[:count]
    before = {name: value.clone() for name, value in net.named_buffers()}
    output = net(SparseTensor(torch.randn(count, 2), indices, (8, 8, 8), 1)).features
    output.sum().backward()
    assert output.shape == (count, 2) and all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())
    if count < 2:
        assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())


def test_it_learns(make_sparse):
    """Which side of the room a voxel is on, from constant features: only the geometry tells."""
    torch.manual_seed(0)
    given = make_sparse(shape=(16, 6, 6), count=150, items=(0, 1), batch_size=2)
    given = given.replace_feature(torch.ones(150, 1))
    target = (given.indices[:, 1] >= 8).long()
    net, head = SparseUNet(1, [8, 16, 24], blocks=1), torch.nn.Linear(8, 2)
    optimizer = torch.optim.Adam([*net.parameters(), *head.parameters()], lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        scores = head(net(given).features)
        torch.nn.functional.cross_entropy(scores, target).backward()
        optimizer.step()
    assert (scores.argmax(1) == target).float().mean() > 0.95


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r'widths=\[\].*at least one level'):
        SparseUNet(6, [])
    small = SparseTensor(torch.zeros(1, 6), torch.zeros(1, 4, dtype=torch.int64), (64, 63, 64), 1)
    with pytest.raises(ValueError, match=r'spatial_shape=\(64, 63, 64\).*7 levels.*at least 64'):
        SparseUNet()(small)
