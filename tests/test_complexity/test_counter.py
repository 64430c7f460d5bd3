"""Counts of single layers and of published networks."""

import pytest
import torch
from mmcv.ops import ModulatedDeformConv2dPack
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from projects.adder import Adder2d, QuantAdder2d
from projects.adder_sr import AdderEDSR, AdderVDSR
from projects.complexity import Energy, get_cost, mean_cost
from projects.ghost_sr import GhostConv2d, GhostEDSR, GhostRDN
from projects.ipt import IPT
from projects.points3d import SparseConv3d, SparseInverseConv3d, SparseTensor, SubMConv3d
from projects.restoration import EDSR


class Mixed(nn.Module):
    """Convolutions of all kinds, attention as a module, as a function and written out, a linear layer."""

    def __init__(self):
        super().__init__()
        self.convs = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8),
                                   nn.Conv2d(8, 8, 3, groups=4, dilation=2), nn.ConvTranspose2d(8, 6, 4, stride=2))
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.linear = nn.Linear(6, 5)

    def forward(self, x):
        x = self.convs(x).flatten(2).mT
        x = self.attention(x, x, x, need_weights=False)[0]
        x = F.scaled_dot_product_attention(x, x, x) + (x @ x.mT).softmax(-1) @ x
        return torch.einsum('bnc,bmc->bnm', self.linear(x), self.linear(x))


def test_agrees_with_the_flop_counter_of_torch():
    """The reference on the meta device, since torch's counter has no rule for the CPU's fused attention."""
    model, image = Mixed().train(), torch.zeros(2, 3, 15, 12)
    cost = get_cost(model, image)
    with torch.inference_mode():  # where torch hands over whole layers
        assert get_cost(model, image).mul == cost.mul
    assert model.training and not cost.uncounted
    model, image = model.to('meta'), image.to('meta')
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        model(image)
    assert cost.mul == cost.add == get_cost(model, image).mul == flops.get_total_flops() / 2 > 0


def test_recurrent_layers_count_alike_in_one_operator_and_in_steps():
    model, steps = nn.LSTM(4, 6, num_layers=2), torch.zeros(5, 3, 4)
    expected = 5 * 3 * 4 * 6 * (4 + 6 + 6 + 6)
    assert get_cost(model, steps).mul == expected == get_cost(model.to('meta'), steps.to('meta')).mul


def test_adder_layers_only_add_and_shifts_are_free():
    """Two additions a pair of weight and activation; a ghost layer costs its intrinsic maps."""
    image, pairs = torch.zeros(2, 3, 9, 8), 2 * 5 * 4 * 6 * 27  # images, positions, filters, taps
    for layer in (Adder2d(3, 6, 3, stride=2, padding=1), QuantAdder2d(3, 6, 3, stride=2, padding=1)):
        cost = get_cost(layer, image)
        assert (cost.mul, cost.add) == (0, 2 * pairs)
        assert cost.energy_mj == pytest.approx(0.9e-9 * 2 * pairs)
    assert get_cost(GhostConv2d(3, 6, 3, stride=2, padding=1), image).mul == pairs / 2
    ghost_adder = GhostConv2d(3, 6, 3, stride=2, padding=1, primary_cfg=dict(type='Adder2d'))
    assert (get_cost(ghost_adder, image).mul, get_cost(ghost_adder, image).add) == (0, pairs)


def test_sparse_convolutions_count_the_pairs_that_meet():
    torch.manual_seed(0)
    cells = torch.cat([torch.zeros(40, 1, dtype=torch.long), torch.randperm(125)[:40, None].div(
        torch.tensor([25, 5, 1]), rounding_mode='floor') % 5], 1)
    tensor = SparseTensor(torch.zeros(40, 2), cells.int(), (5, 5, 5), 1)
    neighbours = int(((cells[:, None] - cells).abs().amax(-1) <= 1).sum())
    assert get_cost(SubMConv3d(2, 3, 3), (tensor,)).mul == neighbours * 2 * 3
    down, up = SparseConv3d(2, 3, 2, stride=2, indice_key='k'), SparseInverseConv3d(3, 2, 2, indice_key='k')
    reached = int((cells[:, 1:] < 4).all(1).sum())  # each belongs to one output; the last plane has none
    cost = get_cost(nn.Sequential(down, up), (tensor,))
    assert [cost.per_module[name].add for name in '01'] == [reached * 2 * 3] * 2


def test_deformable_convolution_counts_once_beside_its_offsets():
    cost = get_cost(ModulatedDeformConv2dPack(4, 6, 3, padding=1), torch.zeros(1, 4, 5, 5))
    assert cost.mul == 25 * 9 * 4 * 6 + cost.per_module['conv_offset'].mul
    assert cost.per_module['conv_offset'].mul == 25 * 9 * 4 * 27


class Own(nn.Module):
    """Says itself what it costs, and calls a foreign operator."""

    def forward(self, x):
        return torch.ops.test_complexity.twice(x @ x)

    def count_cost(self, inputs, output):
        return 7, output.numel()


def test_modules_may_count_themselves_and_foreign_operators_are_named():
    library = torch.library.Library('test_complexity', 'DEF')
    library.define('twice(Tensor x) -> Tensor')
    library.impl('twice', lambda x: 2 * x, 'CompositeExplicitAutograd')
    image = torch.zeros(3, 3)
    cost = get_cost(Own(), image)
    assert (cost.mul, cost.add, cost.uncounted) == (7, 9, ())
    assert get_cost(nn.Identity(), image, forward=lambda model, x: Own.forward(model, x)).uncounted == (
        'test_complexity::twice',)


class Shared(nn.Module):
    """Two uses of one layer, and a head that only training runs."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1))
        self.body[2].weight = self.body[0].weight
        self.head = nn.Linear(10, 10)

    def forward(self, x):
        return self.body(x)


def test_figures_of_modules_and_memory():
    """Parameters once, idle ones apart, children within parents; at most input, map and result live at once."""
    model, image = Shared(), torch.zeros(1, 2, 64, 64)
    cost = get_cost(model, image, energy=Energy(2, 1))
    assert (cost.params, cost.params_idle) == (4 + 2 + 2 + 110, 110)
    assert cost.mul == cost.per_module['body'].mul == 2 * cost.per_module['body.0'].mul == 2 * 64 * 64 * 4
    assert cost.activations == 2 * image.numel()
    assert cost.energy_mj == pytest.approx(3e-9 * cost.mul)
    assert cost.peak_bytes == 4 * (118 + 3 * image.numel())
    both = mean_cost([cost, get_cost(model, torch.cat([image] * 3))])
    assert both.mul == both.per_module[''].mul == 2 * cost.mul and both.peak_bytes > 2 * cost.peak_bytes


LARGE = dict(mid_channels=256, num_blocks=32, res_scale=0.1)
# network, arguments, image, multiplications and additions in G, mJ: AdderSR, GhostSR, IPT (see the package's README)
PUBLISHED = [
    (EDSR, dict(LARGE, upscale_factor=2), (3, 360, 640), 9384.7, 9384.7, 43170),
    (AdderVDSR, {}, (1, 360, 640), 1.06, 1224.1, 1106),
    (AdderEDSR, dict(LARGE, upscale_factor=2, conv_cfg=dict(type='Adder2d')), (3, 360, 640), 551.5, 18218.0, 18437),
    (GhostEDSR, dict(LARGE, upscale_factor=2), (3, 360, 640), 5036.1, 5036.1, None),
    (GhostRDN, dict(upscale_factor=4), (3, 180, 320), 697.7, 697.7, None),
    (IPT, dict(tasks=['sr_x2']), (3, 48, 48), 33.32, 33.32, None)]


@pytest.mark.parametrize('network, arguments, shape, mul, add, energy', PUBLISHED)
def test_published_restoration_figures(network, arguments, shape, mul, add, energy):
    with torch.device('meta'):
        cost = get_cost(network(**arguments), torch.empty(1, *shape))
    assert cost.mul / 1e9 == pytest.approx(mul, rel=5e-3, abs=0.06)
    assert cost.add / 1e9 == pytest.approx(add, rel=2e-4)
    if energy:
        assert cost.energy_mj == pytest.approx(energy, abs=0.6)
