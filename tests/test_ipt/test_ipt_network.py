"""IPT against stored values of the released code, its published size and cost, and its weights across task sets."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from projects.ipt import IPT, IPTRestorer
from projects.ipt.network import TASK_SCALES
from projects.runtime.errors import CheckpointError, ConfigError

TINY = dict(n_feats=3, patch_size=12, num_heads=3, num_layers=2)


@pytest.fixture(scope='module')
def official(golden):
    """A tiny network with the released code's weights, and that code's inputs and outputs."""
    state = {key: torch.from_numpy(value) for key, value in np.load(golden / 'sr/ipt_weights.npz').items()}
    network = IPT(**TINY).eval()
    network.load_state_dict(state)  # strict: every official name and shape, and no other
    return network, state, {key: torch.from_numpy(value) for key, value in np.load(golden / 'sr/ipt_io.npz').items()}


def relative(found, expected):
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize('index, task', list(enumerate(TASK_SCALES)))
@torch.no_grad()
def test_official_outputs(official, index, task):
    network, _, io = official
    io = {key.removeprefix(f't{index}_'): value for key, value in io.items() if key.startswith(f't{index}_')}
    seen = {}
    parts = dict(head=network.head[index], encoder=network.body.encoder, decoder=network.body.decoder)
    hooks = [part.register_forward_hook(lambda module, args, out, name=name: seen.update({name: out}))
             for name, part in parts.items()]
    output, tokens = network(io['input'], task=task, return_tokens=True)
    for hook in hooks:
        hook.remove()
    assert (output - io['output']).abs().max() < 1e-3
    assert relative(seen['head'], io['head']) < 1e-4
    for name in ('encoder', 'decoder'):
        assert relative(seen[name].transpose(0, 1), io[name]) < 1e-4  # tokens first in the stored values
    assert relative(network.body.to_map(tokens), io['body']) < 1e-4


@pytest.mark.parametrize('index, task', list(enumerate(TASK_SCALES)))
@pytest.mark.parametrize('dtype, tolerance', [(torch.float32, 1e-4), (torch.float64, 3e-5)])
def test_official_gradients(official, index, task, dtype, tolerance):
    """The stored gradients are single precision, with up to 2e-5 of rounding; double precision adds none."""
    network, _, io = official
    io = {key.removeprefix(f't{index}_'): value.to(dtype) for key, value in io.items() if key.startswith(f't{index}_')}
    network = copy.deepcopy(network).to(dtype)
    image = io['input'].requires_grad_()
    loss = F.l1_loss(network(image, task=task), io['target'])
    assert loss.item() == pytest.approx(io['l1'].item(), rel=1e-5)
    query, pe, first = network.body.query_embed.weight, network.body.position_encoding.pe.weight, network.head[index][0]
    of_image, of_query, of_pe, of_head = torch.autograd.grad(loss, [image, query, pe, first.weight])
    assert relative(of_image, io['grad_input']) < tolerance
    assert relative(of_query[index], io['grad_query_row']) < tolerance
    assert of_query[[other for other in range(6) if other != index]].abs().max() == 0
    assert relative(of_pe, io['grad_pe']) < tolerance
    assert relative(of_head, io['grad_head0_w']) < tolerance


@pytest.mark.parametrize('tasks, parameters, giga_macs', [
    (['sr_x2'], 115_460_443, 33.32), (['sr_x3'], 115_645_083, 33.77), (['sr_x4'], 115_608_155, 34.73),
    (['denoise_s50'], 115_312_731, 32.97)])
def test_published_size_and_cost(tasks, parameters, giga_macs):
    with torch.device('meta'):
        network = IPT(tasks)
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, 48, 48))
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert sum(p.numel() for p in network.parameters() if not p.requires_grad) == 24  # both mean shifts
    # two operations for each multiplication and addition
    assert counter.get_total_flops() / 2e9 == pytest.approx(giga_macs, abs=0.005)


def test_size_with_six_tasks():
    with torch.device('meta'):
        network = IPT()
    assert sum(p.numel() for p in network.parameters()) == 118_892_394
    assert sum(p.numel() for p in network.body.parameters()) == 114_899_328 + 5 * 147_456
    tails = [sum(p.numel() for p in tail.parameters()) for tail in network.tail]
    assert tails == [149_443, 334_083, 297_155, 1_731, 1_731, 1_731]


@pytest.mark.parametrize('task', ['sr_x3', 'denoise_s50'])
def test_one_task_out_of_six(official, task):
    """A fine-tuning network takes head, tail and query of its task from multi-task weights, by name."""
    network, state, _ = official
    single = IPTRestorer(dict(type='IPT', tasks=[task], **TINY)).eval()
    single.load_state_dict(state)  # a bare network's names, six tasks
    patch = torch.rand(2, 3, 12, 12) * 255
    assert torch.equal(single(patch), network(patch, task=task))
    assert single.generator.body.query_embed.weight.shape[0] == 1
    # and out of a checkpoint of the suite, in another order of the tasks
    two = IPTRestorer(dict(type='IPT', tasks=['derain', task], **TINY)).eval()
    two.load_state_dict({f'generator.{key}': value for key, value in state.items()})
    assert torch.equal(two.generator(patch, task=task), network(patch, task=task))


def test_weights_of_unknown_tasks_are_refused(official):
    """Taking head 0 of any other weights would be a silent mistake."""
    three = IPT(['sr_x2', 'sr_x3', 'sr_x4'], **TINY)
    with pytest.raises(CheckpointError, match='heads of 3 tasks.*checkpoint_tasks'):
        IPT(['denoise_s30'], **TINY).load_state_dict(three.state_dict())
    named = IPT(['sr_x4'], **TINY, checkpoint_tasks=['sr_x2', 'sr_x3', 'sr_x4'])
    named.load_state_dict(three.state_dict())
    assert torch.equal(named.tail[0][0][2].weight, three.tail[2][0][2].weight)
    with pytest.raises(CheckpointError, match='heads of 1 tasks'):
        IPT(**TINY).load_state_dict(named.state_dict())


def test_variants_of_the_body():
    torch.manual_seed(0)
    patch = torch.rand(1, 3, 12, 12) * 255
    assert not any('linear_encoding' in key or 'mlp_head' in key or 'query' in key
                   for key in IPT(**TINY, no_mlp=True).state_dict())
    bare = IPT(['sr_x2'], **TINY, no_pos=True).eval()
    plain, every = IPT(['sr_x2'], **TINY).eval(), IPT(['sr_x2'], **TINY, pos_every=True).eval()
    for other in (plain, every):
        other.load_state_dict(bare.state_dict(), strict=False)
        torch.nn.init.zeros_(other.body.position_encoding.pe.weight)
        assert torch.equal(other(patch), bare(patch))
        torch.nn.init.normal_(other.body.position_encoding.pe.weight)
        assert not torch.allclose(other(patch), bare(patch))
    no_norm = IPT(['sr_x2'], **TINY, no_norm=True)
    assert not any('norm' in key for key in no_norm.state_dict())
    assert no_norm.body.encoder.layers[0].linear2.weight.std().item() == pytest.approx(1 / 108, rel=0.1)


def test_layers_start_differently():
    first, second = IPT(['sr_x2'], **TINY).body.decoder.layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)
    assert first.self_attn.in_proj_weight.abs().max() <= 27 ** -0.5


def test_errors_name_the_way_out():
    with pytest.raises(ConfigError, match="unknown 'sr_x5'.*dict of names and scales"):
        IPT(['sr_x5'], **TINY)
    with pytest.raises(ConfigError, match='multiple of num_heads=5'):
        IPT(['sr_x2'], n_feats=3, patch_size=12, num_heads=5, num_layers=1)
    network = IPT(dict(deblur=1, sr_x2=2), n_feats=3, patch_size=12, num_heads=3, num_layers=1)
    with pytest.raises(ConfigError, match='task=None, expected one of model.generator.tasks: deblur, sr_x2'):
        network(torch.zeros(1, 3, 12, 12))
    with pytest.raises(ValueError, match='12 x 12 pixels, got 20 x 12.*IPTRestorer'):
        network(torch.zeros(1, 3, 20, 12), task='deblur')
