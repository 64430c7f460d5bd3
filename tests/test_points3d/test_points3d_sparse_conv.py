"""Sparse convolutions are dense convolutions of what stands in the grid, read at the output's voxels."""

import pytest
import torch
import torch.nn.functional as F

from projects.points3d import Linear1x1, SparseConv3d, SparseInverseConv3d, SparseSequential, SparseTensor, SubMConv3d
from projects.points3d import rulebook as rulebooks


def at_voxels(dense, tensor):
    """Rows of a dense grid (B, C, X, Y, Z) at the voxels of a tensor."""
    batch, x, y, z = tensor.indices.long().unbind(1)
    return dense[batch, :, x, y, z]


def dense_weight(layer):
    return layer.weight.permute(0, 4, 1, 2, 3)


def chain(channels=(3, 4, 5)):
    """Sub-manifold, strided and inverse layer, in double precision."""
    torch.manual_seed(1)
    first, second, third = channels
    return SparseSequential(SubMConv3d(first, second, 3, padding=1, indice_key='a'),
                            SparseConv3d(second, third, 2, stride=2, bias=False, indice_key='b'),
                            SparseInverseConv3d(third, first, 2, bias=False, indice_key='b')).double()


def test_golden_chain(points3d_golden):
    """Values and gradients of spconv 2.3.8 for the three layers in a row."""
    data = points3d_golden('sparse_conv_ops')
    features = data['feats'].requires_grad_()
    tensor = SparseTensor(features, data['coords'], data['spatial_shape'], int(data['batch_size']))
    names, width = ('subm', 'down', 'up'), data['subm_weight'].shape[0]
    layers = [SubMConv3d(features.shape[1], width, 3, padding=1, bias=False, indice_key='subm'),
              SparseConv3d(width, 2 * width, 2, stride=2, bias=False, indice_key='down'),
              SparseInverseConv3d(2 * width, width, 2, bias=False, indice_key='down')]
    for layer, name in zip(layers, names, strict=True):
        layer.weight.data = data[f'{name}_weight']
    subm = layers[0](tensor)
    down = layers[1](subm)
    up = layers[2](down)
    torch.testing.assert_close(subm.features, data['subm_out'], rtol=0, atol=1e-5)
    torch.testing.assert_close(up.features, data['up_out'], rtol=0, atol=1e-5)
    assert down.spatial_shape == tuple(data['down_shape'].tolist()) and len(down.indices) == len(data['down_coords'])
    expected = SparseTensor(data['down_out'], data['down_coords'], data['down_shape'], tensor.batch_size)
    torch.testing.assert_close(down.dense(), expected.dense(), rtol=0, atol=1e-5)
    (up.features * data['grad_up_out']).sum().backward()
    torch.testing.assert_close(features.grad, data['grad_feats'], rtol=0, atol=1e-5)
    for layer, name in zip(layers, names, strict=True):
        torch.testing.assert_close(layer.weight.grad, data[f'grad_{name}_weight'], rtol=0, atol=1e-4)


@pytest.mark.parametrize('kernel', [1, 3, (3, 1, 5)])
@pytest.mark.parametrize('cells_per_voxel', [0, 1 << 20], ids=['search', 'table'])
def test_submanifold_equals_dense(kernel, cells_per_voxel, make_sparse, monkeypatch):
    """Whichever way neighbours are found, and with several tiles."""
    monkeypatch.setattr(rulebooks, 'CELLS_PER_VOXEL', cells_per_voxel)
    monkeypatch.setitem(rulebooks.TILE_ROWS, 'cpu', 16)
    tensor = make_sparse(shape=(7, 6, 5), count=150)
    layer = SubMConv3d(3, 4, kernel).double()
    expected = F.conv3d(tensor.dense(), dense_weight(layer), layer.bias, padding=layer.padding)
    output = layer(tensor)
    torch.testing.assert_close(output.features, at_voxels(expected, tensor))
    assert output.indices is tensor.indices


@pytest.mark.parametrize('kernel, stride, padding', [
    (2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0), ((1, 2, 3), (2, 1, 2), (0, 1, 0))])
@pytest.mark.parametrize('shape', [(7, 6, 5), (8, 3, 9)])
def test_strided_equals_dense(kernel, stride, padding, shape, make_sparse):
    """Values, shape, and that outputs are exactly the cells that a voxel reaches; odd shapes included."""
    tensor = make_sparse(shape=shape)
    layer = SparseConv3d(3, 4, kernel, stride=stride, padding=padding, bias=False).double()
    output = layer(tensor)
    dense = F.conv3d(tensor.dense(), dense_weight(layer), stride=stride, padding=padding)
    torch.testing.assert_close(output.dense(), dense)
    occupied = tensor.replace_feature(torch.ones_like(tensor.features[:, :1])).dense()
    counts = F.conv3d(occupied, torch.ones(1, 1, *layer.kernel_size).double(), stride=stride, padding=padding)[:, 0]
    assert torch.equal(output.indices.long(), counts.nonzero())  # all of them, once, in rising order


def test_inverse_equals_dense_and_leaves_the_odd_plane_at_zero(make_sparse):
    tensor = make_sparse(shape=(7, 6, 5), count=200, channels=4)
    down, up = chain()[1:]
    coarse = down(tensor)
    output = up(coarse)
    dense = F.conv_transpose3d(coarse.dense(), up.weight.permute(4, 0, 1, 2, 3), stride=2)
    padded = F.pad(dense, (0, 1, 0, 0, 0, 1))  # z and x are odd
    torch.testing.assert_close(output.features, at_voxels(padded, tensor))
    beyond = (tensor.indices[:, 1] == 6) | (tensor.indices[:, 3] == 4)
    assert beyond.any() and not output.features[beyond].any()
    assert output.indices is tensor.indices and output.spatial_shape == tensor.spatial_shape


def test_gradients_are_right(make_sparse, monkeypatch):
    monkeypatch.setitem(rulebooks.TILE_ROWS, 'cpu', 8)
    tensor, layers = make_sparse(shape=(4, 3, 3), count=12, channels=1), chain((1, 2, 2))
    names, weights = zip(*layers.named_parameters(), strict=True)

    def function(features, *weights):
        fresh = SparseTensor(features, tensor.indices, tensor.spatial_shape, tensor.batch_size)
        return torch.func.functional_call(layers, dict(zip(names, weights, strict=True)), (fresh,)).features
    inputs = tensor.features.requires_grad_(), *(w.detach().requires_grad_() for w in weights)
    assert torch.autograd.gradcheck(function, inputs)


def test_rows_may_stand_in_any_order(make_sparse):
    tensor, layers = make_sparse(), chain()
    order = torch.randperm(len(tensor.indices), generator=torch.Generator().manual_seed(3))
    shuffled = SparseTensor(tensor.features[order], tensor.indices[order], tensor.spatial_shape, tensor.batch_size)
    torch.testing.assert_close(layers(shuffled).features, layers(tensor).features[order])


def test_batch_items_do_not_meet(make_sparse):
    """The last plane of an item and the first of the next are no neighbours; an empty item stays empty."""
    both, layers = make_sparse(items=(0, 2), count=300), chain()
    expected = layers(both).dense()
    for item in (0, 2):
        own = both.indices[:, 0] == item
        alone = SparseTensor(both.features[own], both.indices[own], both.spatial_shape, 3)
        torch.testing.assert_close(layers(alone).dense()[item], expected[item])
    assert not expected[1].any()


def test_a_single_voxel_meets_the_centre_of_the_kernel():
    tensor = SparseTensor(torch.tensor([[2.0, 3.0]]), torch.tensor([[0, 4, 4, 4]]), (5, 5, 5), 1)
    layer = SubMConv3d(2, 3, 3, bias=False)
    torch.testing.assert_close(layer(tensor).features, tensor.features @ layer.weight[:, 1, 1, 1].t())
    assert len(SparseConv3d(2, 3, 2, stride=2)(tensor).indices) == 0  # it lies beyond the last stride


def test_no_voxels_at_all():
    layers = chain()
    features = torch.zeros(0, 3, dtype=torch.float64, requires_grad=True)
    output = layers(SparseTensor(features, torch.zeros(0, 4, dtype=torch.int64), (4, 4, 4), 2))
    assert output.features.shape == (0, 3) and not output.dense().any()
    output.features.sum().backward()
    assert all(not p.grad.any() for p in layers.parameters()) and features.grad.shape == (0, 3)


def test_results_do_not_depend_on_the_number_of_threads(make_sparse, with_threads):
    tensor = make_sparse(shape=(40, 30, 20), count=20000, channels=16, dtype=torch.float32)
    layer = SubMConv3d(16, 16, 3, padding=1, bias=False)

    def run():
        features = tensor.features.clone().requires_grad_()
        layer.weight.grad = None
        output = layer(SparseTensor(features, tensor.indices, tensor.spatial_shape, 3)).features
        output.square().sum().backward()
        return output, features.grad, layer.weight.grad
    one, two, again = with_threads(1, run), with_threads(2, run), with_threads(2, run)
    for first, second, third in zip(one, two, again, strict=True):
        assert torch.equal(second, third)
        # to the last bit here; a BLAS may share out the sum over rows of the weight's gradient
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-5 * first.abs().max().item())
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])


def test_half_precision_is_computed_in_single(make_sparse):
    tensor = make_sparse(dtype=torch.float32)
    layer = SubMConv3d(3, 4, 3)
    expected = layer(tensor).features
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(layer(tensor).features, expected)
    assert layer(tensor.replace_feature(tensor.features.half())).features.dtype == torch.float32


def test_layers_of_one_key_share_a_rulebook(make_sparse):
    tensor = make_sparse(dtype=torch.float32)
    first, second = (SubMConv3d(3, 3, 3, indice_key='k') for _ in range(2))
    output = first(tensor)
    book = output.indice_dict['k']
    assert second(output).indice_dict['k'] is book and list(tensor.indice_dict) == ['k']
    assert not SubMConv3d(3, 3, 3)(make_sparse(dtype=torch.float32)).indice_dict  # no key, nothing kept


def test_a_1x1_convolution_is_a_linear_layer(make_sparse):
    tensor = make_sparse()
    layer = Linear1x1(3, 5).double()
    expected = F.conv3d(tensor.dense(), dense_weight(layer), layer.bias)
    torch.testing.assert_close(layer(tensor).features, at_voxels(expected, tensor))


def test_initialisation_is_that_of_spconv():
    """Uniform within 1 / sqrt(fan in)."""
    torch.manual_seed(0)
    layer = SubMConv3d(8, 64, 3)
    bound = (8 * 27) ** -0.5
    for values in (layer.weight, layer.bias):
        assert values.abs().max() <= bound and abs(values.std() / (bound / 3 ** 0.5) - 1) < 0.2


INDICES = torch.tensor([[0, 0, 0, 0], [0, 1, 2, 3]])


@pytest.mark.parametrize('indices, shape, batch_size, words', [
    (INDICES.float(), (4, 4, 4), 1, ['indices', 'float32', '(2, 4)']),
    (INDICES[:, :3], (4, 4, 4), 1, ['indices', '(2, 3)', '(2, 4)']),
    (INDICES, (4, 4, 3), 1, ['z from 0 to 3', '0 to 2', 'larger spatial_shape']),
    (INDICES - 1, (4, 4, 4), 1, ['batch item from -1', 'shift']),
    (INDICES, (4, 4), 1, ['spatial_shape=(4, 4)', 'three']),
    (INDICES, (4, 4, 4), 0, ['batch_size=0', 'at least 1'])])
def test_bad_tensors_are_refused(indices, shape, batch_size, words):
    with pytest.raises(ValueError) as error:
        SparseTensor(torch.zeros(2, 1), indices, shape, batch_size)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize('cells_per_voxel', [0, 1 << 20], ids=['search', 'table'])
def test_a_cell_that_stands_twice_is_refused(cells_per_voxel, monkeypatch):
    monkeypatch.setattr(rulebooks, 'CELLS_PER_VOXEL', cells_per_voxel)
    tensor = SparseTensor(torch.zeros(2, 1), INDICES[[1, 1]], (4, 4, 4), 1)
    with pytest.raises(ValueError, match='twice.*voxelize'):
        SubMConv3d(1, 1, 3)(tensor)


def test_bad_layers_are_refused(make_sparse):
    tensor = make_sparse(dtype=torch.float32)
    for make, words in [
            (lambda: SubMConv3d(3, 3, 2), 'kernel_size=.2, 2, 2.*odd'),
            (lambda: SubMConv3d(3, 3, 3, padding=2), 'padding=2, expected .1, 1, 1.'),
            (lambda: SubMConv3d(3, 3, 3, backend='mps'), "backend='mps', expected one of"),
            (lambda: SparseConv3d(3, 3, 2, stride=0), 'stride=0.*at least 1'),
            (lambda: SubMConv3d(4, 3, 3)(tensor), '3 channels.*in_channels=4'),
            (lambda: SparseConv3d(3, 3, 9)(tensor), 'kernel_size=.9, 9, 9. is larger than spatial_shape=.7, 6, 5.'),
            (lambda: SparseInverseConv3d(3, 3, 2, indice_key='no')(tensor), "indice_key='no'.*must come first"),
            (lambda: SubMConv3d(3, 3, 3, backend='spconv')(tensor), "backend='spconv'.*cpu.*use 'auto' or 'torch'")]:
        with pytest.raises(ValueError, match=words):
            make()
    with pytest.raises(TypeError, match='expected a SparseTensor, got Tensor'):
        SubMConv3d(3, 3, 3)(tensor.features)
    with pytest.raises(ValueError, match='more cells than'):
        SubMConv3d(3, 3, 3)(SparseTensor(tensor.features[:2], INDICES, (1 << 21,) * 3, 1))


def test_a_key_that_belongs_to_others_is_refused(make_sparse):
    """spconv would compute with the wrong rulebook."""
    tensor = make_sparse(dtype=torch.float32)
    coarse = SparseConv3d(3, 3, 2, stride=2, indice_key='k')(tensor)
    for layer, value, words in [
            (SubMConv3d(3, 3, 3, indice_key='k'), tensor, 'is strided, expected a submanifold one'),
            (SparseConv3d(3, 3, 3, stride=2, indice_key='k'), tensor, 'Give this layer a key of its own'),
            (SparseConv3d(3, 3, 2, stride=2, indice_key='k'), coarse, 'Give this layer a key of its own'),
            (SparseInverseConv3d(3, 3, 2, indice_key='k'), tensor, 'belongs to a kernel'),
            (SparseInverseConv3d(3, 3, 3, indice_key='k'), coarse, 'belongs to a kernel')]:
        with pytest.raises(ValueError, match=words):
            layer(value)
    tensor.indice_dict['k'] = object()
    with pytest.raises(ValueError, match='made by spconv.*same backend'):
        SubMConv3d(3, 3, 3, indice_key='k')(tensor)
