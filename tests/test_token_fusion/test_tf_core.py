"""Scores, exchange and block against stored outputs of the official code, and identities of the method."""

import re

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from projects.token_fusion import (
    FusionEncoder,
    GroupAllocation,
    ModalityLayerNorm,
    ModalityScoreNets,
    exchange_tokens,
    substituted_shares,
    token_sparsity_loss,
)
from projects.token_fusion.losses import channel_sparsity_loss, exchanged_channels
from projects.token_fusion.mit_block import Fusion, FusionBlock
from projects.token_fusion.modality_layers import Sharing
from projects.token_fusion.segmentation import convert_encoder

CLOSE = dict(atol=1e-5, rtol=1e-4)
STAGE = 'block1.0.'
TINY = dict(embed_dims=(8, 16), num_heads=(1, 2), depths=(1, 2), sr_ratios=(2, 1), kernels=(7, 3), strides=(4, 2),
            drop_path_rate=0.)


def pair(data, name):
    return torch.stack([data[f'{name}0'], data[f'{name}1']])


def weights(data, prefix='w.'):
    return {key.removeprefix(prefix): value for key, value in data.items() if key.startswith(prefix)}


def as_leaf(tensor):
    return tensor.clone().requires_grad_()


def set_scores(encoder, modality, kept):
    """Let all score nets of a modality say 1 or 0."""
    for stage in encoder.stages:
        for nets in stage.score_nets:
            last = nets.nets[modality].layers[-1]
            torch.nn.init.zeros_(last.weight)
            last.bias.data = torch.tensor([200., -200.] if kept else [-200., 200.])


def test_exchange_as_official(stored):
    """Values and gradients, a score equal to the threshold included: exactly."""
    data = stored('token_exchange')
    tokens, scores = as_leaf(pair(data, 'x')), pair(data, 'mask')
    out = exchange_tokens(tokens, scores, data['threshold'])
    assert torch.equal(out, pair(data, 'out'))
    (out * pair(data, 'cot')).sum().backward()
    assert torch.equal(tokens.grad, pair(data, 'grad_x'))
    assert (scores == data['threshold']).any()


def test_score_net_as_official(stored):
    data = stored('predictor_lg')

    def own(key):
        return key.replace('score_nets.', 'nets.').replace('.', '.layers.', 2).replace('.layers.', '.', 1)

    nets = ModalityScoreNets(2, 32)
    nets.load_state_dict({own(key): value for key, value in weights(data).items()})
    tokens = as_leaf(pair(data, 'x'))
    for m, net in enumerate(nets.nets):
        assert_close(net.log_probabilities(tokens[m]), data[f'log_prob{m}'], **CLOSE)
    scores = nets(tokens)
    assert_close(scores, pair(data, 'mask'), **CLOSE)
    loss = token_sparsity_loss([scores], 1.)
    assert_close(loss, data['l1_sum'], **CLOSE)
    loss.backward()
    assert_close(tokens.grad, pair(data, 'grad_x'), **CLOSE)
    grads = {name: value.grad for name, value in nets.named_parameters()}
    for key, value in weights(data, 'grad_w.').items():
        assert_close(grads[own(key)], value, **CLOSE)


def test_layer_norm_as_official(stored):
    data = stored('layer_norm_parallel')
    norm = ModalityLayerNorm(2, 16)
    for name in ('weight', 'bias'):
        getattr(norm, name).data = torch.stack([data[f'w.ln_{m}.{name}'] for m in range(2)])
    tokens = as_leaf(pair(data, 'x'))
    out = norm(tokens)
    assert_close(out, pair(data, 'out'), **CLOSE)
    (out * pair(data, 'cot')).sum().backward()
    assert_close(tokens.grad, pair(data, 'grad_x'), **CLOSE)
    for name in ('weight', 'bias'):
        expected = torch.stack([data[f'grad_w.ln_{m}.{name}'] for m in range(2)])
        assert_close(getattr(norm, name).grad, expected, **CLOSE)


@pytest.mark.parametrize('name', ['mit_block_sr1', 'mit_block_sr2'])
def test_block_as_official(stored, name):
    """Outputs with and without scores, and all stored gradients."""
    data = stored(name)
    tokens, scores = as_leaf(pair(data, 'x')), as_leaf(pair(data, 'mask'))
    block = FusionBlock(2, tokens.shape[-1], int(data['num_heads']), int(data['sr_ratio']))
    own = 'stages.0.blocks.0.'
    state = convert_encoder({STAGE + key: value for key, value in weights(data).items()})
    block.load_state_dict({key.removeprefix(own): value for key, value in state.items()})
    grid = int(data['H']), int(data['W'])
    fusion = Fusion(scores)
    assert_close(block.attend(tokens, *grid, fusion)[1], pair(data, 'attn_out'), **CLOSE)
    plain = torch.stack([data['attn_out0_nomask'], data['attn_out1_nomask']])
    assert_close(block.attend(tokens, *grid, Fusion())[1], plain, **CLOSE)
    assert_close(block(tokens, *grid), torch.stack([data['out0_nomask'], data['out1_nomask']]), **CLOSE)
    out = block(tokens, *grid, fusion)
    assert_close(out, pair(data, 'out'), **CLOSE)
    (out * pair(data, 'cot')).sum().backward()
    assert_close(tokens.grad, pair(data, 'grad_x'), **CLOSE)
    assert_close(scores.grad, pair(data, 'grad_mask'), **CLOSE)
    grads = {name: value.grad for name, value in block.named_parameters()}
    for key, value in weights(data, 'grad_w.').items():
        plain_key, _, modality = key.replace('.module', '').replace('dwconv.dwconv', 'dwconv').partition('.ln_')
        found = grads[f'{plain_key}{modality[1:]}'][int(modality[0])] if modality else grads[plain_key]
        assert_close(found, value, **CLOSE)


def test_exchange_that_keeps_all_is_the_unfused_network():
    """Scores of 1 change nothing."""
    torch.manual_seed(0)
    fused, plain = FusionEncoder(**TINY), FusionEncoder(**TINY, scored='none')
    fused.init_weights()
    plain.load_state_dict({key: value for key, value in fused.state_dict().items() if 'score_nets' not in key})
    images = torch.randn(2, 1, 3, 32, 32)
    for modality in range(2):
        set_scores(fused, modality, kept=True)
    for own, other in zip(fused(images)[0], plain(images)[0], strict=True):
        assert torch.equal(own, other)


def test_swapped_modalities_swap_the_outputs():
    """With norms and score nets swapped as well, for some tokens below the threshold."""
    torch.manual_seed(0)
    encoder, swapped = FusionEncoder(**TINY, threshold=0.5), FusionEncoder(**TINY, threshold=0.5)
    encoder.init_weights()
    state = {key: value.flip(0) if 'norm' in key else value for key, value in encoder.state_dict().items()}
    state = {key.replace('nets.0', 'nets.x').replace('nets.1', 'nets.0').replace('nets.x', 'nets.1')
             if '.nets.' in key else key: value for key, value in state.items()}
    state = {key.replace('score_nets.1', 'score_nets.0'): value for key, value in state.items()}
    swapped.load_state_dict(state)
    images = torch.randn(2, 1, 3, 32, 32)
    (maps, scored), (other_maps, other_scored) = encoder(images), swapped(images.flip(0))
    assert 0 < (scored[0].scores < 0.5).float().mean() < 1
    for own, other in zip(maps, other_maps, strict=True):
        assert_close(own, other.flip(0))
    assert_close(scored[-1].scores, other_scored[-1].scores.flip(0))


def test_scores_of_zero_take_the_other_branch():
    torch.manual_seed(0)
    block = FusionBlock(2, 8, 2, 1)
    tokens = torch.randn(2, 3, 12, 8)
    scores = torch.stack([torch.zeros(3, 12), torch.ones(3, 12)])
    [own, other] = block.attend(tokens, 3, 4, Fusion(scores))[1]
    assert torch.equal(own, other)
    assert torch.equal(other, block.attend(tokens, 3, 4, Fusion())[1][1])


def test_exchange_of_input_tokens():
    """The paper's form: the whole token of the other modality, multiplied by its own score behind the norm."""
    torch.manual_seed(0)
    block = FusionBlock(2, 8, 2, 1)
    tokens = torch.randn(2, 1, 4, 8)
    scores = torch.tensor([[[0.9, 0.9, 0., 0.9]], [[0.8, 0.7, 0.6, 0.5]]])
    seen = []
    block.attn.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    stream, _ = block.attend(tokens, 2, 2, Fusion(scores, exchange='input'))
    assert torch.equal(stream[0, 0, 2], tokens[1, 0, 2]) and torch.equal(stream[0, 0, 1], tokens[0, 0, 1])
    assert_close(seen[0][0, 0, 2], 0.6 * block.norm1(stream)[0, 0, 2])


def test_three_modalities_share_the_places():
    """Each place of a modality is given to one other one, in equal groups, whatever the grid; the map is stored."""
    allocation = GroupAllocation(3, (6, 8), seed=1)
    source = allocation(6, 8)
    for own in range(3):
        counts = torch.bincount(source[own], minlength=3)
        assert counts.tolist() == [0 if other == own else 24 for other in range(3)]
    assert (allocation(7, 5) != torch.arange(3)[:, None]).all()
    tokens = torch.arange(3.).view(3, 1, 1, 1).expand(3, 2, 48, 1)
    assert torch.equal(exchange_tokens(tokens, torch.zeros(3, 2, 48), source=source)[:, 1, :, 0].long(), source)
    encoder = FusionEncoder(**TINY, num_modalities=3, input_size=(32, 32))
    assert sum(key.endswith('allocation.source') for key in encoder.state_dict()) == 2
    with pytest.raises(ValueError, match='between 3 modalities: expected 2, or more with a map'):
        exchange_tokens(tokens, torch.zeros(3, 2, 48))


def test_own_layers_that_are_equal_are_the_shared_ones():
    """Table 8, unshared attention and FFN: copies of one layer compute what it does, and differ once one is changed."""
    torch.manual_seed(0)
    shared, apart = FusionEncoder(**TINY), FusionEncoder(**TINY, shared_layers=False)
    shared.init_weights()
    state, copies = shared.state_dict(), re.compile(r'\.(q|kv|proj|sr|fc1|dwconv|fc2)\.[01]\.')
    apart.load_state_dict({key: state[copies.sub(r'.\1.', key)] for key in apart.state_dict()})
    images = torch.randn(2, 2, 3, 32, 32)
    for own, other in zip(apart(images)[0], shared(images)[0], strict=True):
        assert_close(own, other)
    apart.stages[1].blocks[0].mlp.fc1[1].weight.data.add_(1)
    changed, before = apart(images)[0], shared(images)[0]
    assert_close(changed[0], before[0])
    assert_close(changed[1][0], before[1][0])
    assert not torch.allclose(changed[1][1], before[1][1])


def test_channels_of_small_scale_take_the_other_modality():
    """Table 9: by the scales of the norms, in both directions; the loss is their l1 norm, and the log counts them."""
    torch.manual_seed(0)
    block = FusionBlock(2, 8, 2, 1, sharing=Sharing(channel_threshold=1e-2))
    block.norm1.weight.data[0, 3] = -5e-3
    block.norm2.weight.data[1, 2:4] = 0.
    tokens = torch.randn(2, 1, 4, 8)
    normed = block.norm1(tokens)
    plain = torch.stack([functional.layer_norm(own, (8,), eps=1e-6) for own in tokens])
    plain[0, ..., 3] = plain[1, ..., 3]
    assert_close(normed, plain)
    assert_close(channel_sparsity_loss(block, 1e-3), torch.tensor(1e-3 * (15 + 5e-3 + 14)))
    shares = exchanged_channels(block, ('rgb', 'depth'))
    assert {key: float(value) for key, value in shares.items()} == dict(exchanged_rgb=6.25, exchanged_depth=12.5)
    three = ModalityLayerNorm(3, 8, channel_threshold=1e-2)
    tokens = torch.randn(3, 1, 4, 8)
    before = three(tokens)
    three.weight.data[2] = 0.
    assert_close(three(tokens), torch.stack([before[0], before[1], before[:2].mean(0)]))
    assert channel_sparsity_loss(FusionBlock(2, 8, 2, 1), 1.) is None
    with pytest.raises(ValueError, match='channel_threshold: expected None with shared_norm'):
        FusionEncoder(**TINY, shared_norm=True, channel_threshold=1e-2)


def test_loss_and_log_of_scores():
    """'mean' does not depend on batch and tokens; shares are in per cent, each layer counting alike."""
    low, high = torch.full((2, 4, 10), 0.01), torch.full((2, 4, 6), 0.5)
    high[1] = 0.
    assert_close(token_sparsity_loss([low, high], 2., 'mean'), torch.tensor(2 * (0.02 + 0.5)))
    assert_close(token_sparsity_loss([low, high], 2.), torch.tensor(2 * (0.8 + 12.)))
    shares = substituted_shares([low, high], [0, 1], 0.02, ('rgb', 'depth'))
    assert {key: float(value) for key, value in shares.items()} == dict(
        replaced_rgb_s0=100, replaced_rgb_s1=0, replaced_rgb=50, replaced_depth_s0=100, replaced_depth_s1=100,
        replaced_depth=100)
    with pytest.raises(ValueError, match="reduction 'max': expected 'sum' or 'mean'"):
        token_sparsity_loss([low], 1., 'max')
