"""On a GPU the operators give what they give on the CPU."""

import pytest
import torch

from projects.points3d import (
    SparseTensor,
    SparseUNet,
    ball_query,
    connected_components,
    furthest_point_sample,
    segment_max,
    segment_mean,
    three_interpolate,
    three_nn,
    voxelize,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')


@pytest.mark.parametrize('training', [True, False])
def test_unet(training, monkeypatch):
    """In double precision, so that only the order of sums differs; outputs, and gradients of everything."""
    torch.manual_seed(0)
    cells = torch.cartesian_prod(torch.arange(2), *(torch.arange(n) for n in (21, 18, 16)))
    indices = cells[torch.randperm(len(cells))[:2000]]
    features = torch.randn(2000, 6, dtype=torch.float64)
    net, results = SparseUNet(6, [8, 16, 24], backend='torch').double().train(training), []
    state = {name: value.clone() for name, value in net.state_dict().items()}
    for device in ('cpu', 'cuda'):
        net.load_state_dict(state)
        net.to(device).zero_grad()
        given = features.to(device, copy=True).requires_grad_()
        output = net(SparseTensor(given, indices.to(device), (21, 18, 16), 2)).features
        output.square().sum().backward()
        results.append([x.detach().cpu() for x in (output, given.grad, *(p.grad for p in net.parameters()))])
    torch.testing.assert_close(results[1], results[0], rtol=1e-8, atol=1e-8)


def test_operators():
    torch.manual_seed(0)
    points, batch = torch.rand(3000, 3), torch.randint(2, (3000,))
    coords = torch.cat([batch[:, None], (points * 9).long()], 1)
    clouds = points.view(3, 1000, 3)
    results = []
    for device in ('cpu', 'cuda'):
        p, b, c, x = (value.to(device) for value in (points, batch, coords, clouds))
        distance, indices = three_nn(x, x[:, :200])
        voxels = voxelize(c, p)
        found = [*ball_query(p, 0.05, b), connected_components(p, 0.05, b), furthest_point_sample(x, 64), distance,
                 indices, three_interpolate(x[:, :200].transpose(1, 2), indices, distance), *voxels,
                 *segment_max(p, b, 3), segment_mean(p, b, 3)]
        assert all(value.device.type == device for value in found)
        results.append([value.cpu() for value in found])
    torch.testing.assert_close(results[1], results[0])
