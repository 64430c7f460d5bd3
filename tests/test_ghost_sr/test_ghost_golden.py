"""Ghost layers against the released code's stored results, in evaluation and in training."""

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from projects.ghost_sr import GhostConv2d

TOLERANCE = dict(rtol=1e-5, atol=1e-5)


@pytest.fixture(scope='module')
def stored(golden):
    with np.load(golden / 'sr' / 'ghost_module.npz') as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def fill(layer, stored, key):
    layer.load_state_dict({'primary_conv.weight': stored[f'{key}primary_w'], 'primary_conv.bias':
                           stored[f'{key}primary_b'], 'shift_weight': stored[f'{key}shift_w']}, strict=False)


def built(stored, case):
    layer = GhostConv2d(stored[f'{case}_x'].shape[1], stored[f'{case}_eval_out'].shape[1], 3, padding=1,
                        ratio=float(stored[f'{case}_ratio']))
    fill(layer, stored, f'{case}_')
    return layer


@pytest.mark.parametrize('case', ['c0', 'c1', 'c2'])
def test_evaluation(stored, case):
    layer = built(stored, case).eval()
    torch.testing.assert_close(layer(stored[f'{case}_x']), stored[f'{case}_eval_out'], **TOLERANCE)
    (row, column), = torch.nonzero(stored[f'{case}_eval_onehot'][0, 0]).tolist()
    assert layer.offsets() == [(row - 1, column - 1)]


@pytest.mark.parametrize('epoch', [1, 50])
@pytest.mark.parametrize('case', ['c0', 'c1', 'c2'])
def test_training(stored, case, epoch, monkeypatch):
    layer, key = built(stored, case).train(), f'{case}_ep{epoch}'
    layer.epoch = epoch
    monkeypatch.setattr(layer, 'sample_uniform', lambda: stored[f'{key}_uniform'])
    x = stored[f'{case}_x'].clone().requires_grad_()
    out = layer(x)
    torch.testing.assert_close(out, stored[f'{key}_out'], **TOLERANCE)
    out.backward(stored[f'{key}_gradout'])
    torch.testing.assert_close(x.grad, stored[f'{key}_grad_x'], **TOLERANCE)
    torch.testing.assert_close(layer.shift_weight.grad, stored[f'{key}_grad_shift_w'], **TOLERANCE)
    torch.testing.assert_close(layer.primary_conv.weight.grad, stored[f'{key}_grad_primary_w'], **TOLERANCE)


def test_residual_block(stored):
    block = MODELS.build(dict(type='ResidualBlockNoBN', channels=8, res_scale=0.1, conv_cfg=dict(type='GhostConv2d')))
    fill(block.body[0], stored, 'rb_g0_')
    fill(block.body[2], stored, 'rb_g1_')
    torch.testing.assert_close(block.eval()(stored['rb_x']), stored['rb_out'], **TOLERANCE)
