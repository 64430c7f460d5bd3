"""Whole images in windows: the released code's stored results, and identities of all rules."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from projects.ipt import IPT, run_in_windows, window_rule
from projects.ipt.network import TASK_SCALES
from projects.ipt.windows import RULES, window_count
from projects.restoration import self_ensemble
from projects.runtime.errors import ConfigError


@pytest.fixture(scope='module')
def official(golden):
    """The tiny network with the released code's weights, and that code's results for whole images."""
    network = IPT(n_feats=3, patch_size=12, num_heads=3, num_layers=2).eval()
    network.load_state_dict({key: torch.from_numpy(value)
                             for key, value in np.load(golden / 'sr/ipt_weights.npz').items()})
    return network, {key: torch.from_numpy(value) for key, value in np.load(golden / 'sr/ipt_forward_chop.npz').items()}


def runner(network, index, batch_size=7):
    task, scale = list(TASK_SCALES.items())[index]
    rule = window_rule('ipt_pt', 12)
    return lambda image: run_in_windows(lambda part: network(part, task=task), image, rule, scale, batch_size)


@pytest.mark.parametrize('index', [0, 1, 2, 3, 5])
@torch.no_grad()
def test_released_rule(official, index):
    """x2, x3, x4 and x1, with rests at the end of every kind; the last one is a single window."""
    network, stored = official
    output = runner(network, index)(stored[f't{index}_input'])
    assert (output - stored[f't{index}_output']).abs().max() < 1e-3
    if f't{index}_quantized' in stored:
        assert torch.equal(output.clamp(0, 255).round(), stored[f't{index}_quantized'])


@pytest.mark.parametrize('index', [0, 3])
@torch.no_grad()
def test_released_rule_with_self_ensemble(official, index):
    network, stored = official
    output = self_ensemble(runner(network, index), stored[f't{index}_input'])
    assert (output - stored[f't{index}_x8_output']).abs().max() < 1e-3


@torch.no_grad()
def test_batches_of_windows_and_of_images(official):
    network, stored = official
    image = stored['t0_input']
    pair = torch.cat([image, image.flip(-1)])
    whole = runner(network, 0, batch_size=1000)(pair)
    for index, batch_size in ((0, 1), (1, 16)):
        assert (runner(network, 0, batch_size)(pair[index:index + 1]) - whole[index:index + 1]).abs().max() < 1e-3


@pytest.mark.parametrize('name', RULES)
@pytest.mark.parametrize('scale', [1, 3])
@pytest.mark.parametrize('size', [(24, 24), (24, 53), (71, 48), (101, 67), (130, 90)])
def test_pixelwise_network_is_exact(name, scale, size):
    """Weights add up to one in every pixel, and every window lands in its place, whatever the rest at the end."""
    image = torch.rand(2, 3, *size, dtype=torch.float64)

    def enlarge(part):
        return F.interpolate(part.square(), scale_factor=scale)

    output = run_in_windows(enlarge, image, window_rule(name, 24), scale, batch_size=5)
    assert torch.allclose(output, enlarge(image), rtol=0, atol=1e-12)


@pytest.mark.parametrize('name, reach', [('ipt_pt', 6), ('ipt_ms', 3), ('paper', 5)])
def test_cut_margins_hide_the_border(name, reach):
    """A network that looks no farther than the margin gives the same in windows as on the whole image."""
    kernel = torch.rand(1, 1, 2 * reach + 1, 2 * reach + 1, dtype=torch.float64)
    image = torch.rand(1, 1, 75, 62, dtype=torch.float64)

    def blur(part):
        return F.conv2d(part, kernel, padding=reach)

    output = run_in_windows(blur, image, window_rule(name, 24))
    if name == 'ipt_pt':  # its one exception: the top border is not cut at the end of the first window
        assert not torch.allclose(output[..., :6, 6:24], blur(image)[..., :6, 6:24])
        output[..., :6, 6:24] = blur(image)[..., :6, 6:24]
    assert torch.allclose(output, blur(image), rtol=0, atol=1e-9)


def test_feathering_hides_seams():
    """A network whose windows differ by a constant: the largest step between neighbours shrinks."""
    def shifted(part):
        return part * 0 + torch.arange(len(part)).view(-1, 1, 1, 1) % 2

    image = torch.zeros(1, 1, 90, 90)
    steps = [run_in_windows(shifted, image, window_rule(name, 24), batch_size=100).diff(dim=-1).abs().max().item()
             for name in ('ipt_ms', 'feather')]
    assert steps[0] == 1 and steps[1] < 0.2


def test_smaller_images_are_reflected():
    image = torch.rand(1, 3, 7, 30)
    seen = []

    def network(part):
        seen.append(part)
        return part

    assert torch.equal(run_in_windows(network, image, window_rule('ipt_pt', 12)), image)
    assert torch.equal(seen[0][0, :, 7:], image[0, :, 1:6, :12].flip(1))


def test_number_of_windows():
    """128 x 128: 8 x 8 windows of 48; the released code runs 78, some of them twice."""
    assert window_count(128, 128, window_rule('ipt_pt', 48)) == 64
    assert window_count(128, 128, window_rule('ipt_ms', 48)) == 16
    assert window_count(20, 48, window_rule('ipt_pt', 48)) == 1


def test_errors_name_the_way_out():
    with pytest.raises(ConfigError, match="tiling='pt': expected one of ipt_pt"):
        window_rule('pt', 48)
    with pytest.raises(ConfigError, match='does not fit windows of 12 pixels.*Rules that do: ipt_pt, feather'):
        window_rule('ipt_ms', 12)
