"""quantize_adder.py writes a checkpoint and a config that tools/test.py evaluates, and refuses what does not fit."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

CONFIG = Path(__file__).with_name('tiny_fcos.py')


@pytest.fixture(scope='module')
def adder_run(tool_here, tmp_path_factory):
    """Work dir and config of one epoch of the tiny detector on an adder backbone."""
    folder = tmp_path_factory.mktemp('adder')
    config = folder / 'tiny_adder.py'
    config.write_text(f"_base_ = '{CONFIG}'\n"
                      "custom_imports = dict(imports=['projects.runtime', 'projects.det_data', 'projects.adder'])\n"
                      "model = dict(backbone=dict(conv_cfg=dict(type='Adder2d')))\n")
    done = tool_here('train.py', config, '--work-dir', folder / 'run')
    assert done.returncode == 0, done.stderr[-3000:]
    return config, folder / 'run/epoch_1.pth'


def test_the_integer_model_is_evaluated(adder_run, tool_here, tmp_path):
    config, checkpoint = adder_run
    done = tool_here('analysis_tools/quantize_adder.py', config, checkpoint, '--images', 6, '--out-dir', tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    new = tmp_path / 'tiny_adder_int8'
    assert f'python tools/test.py {new}.py {new}.pth' in done.stdout
    assert Config.fromfile(f'{new}.py').model.backbone.conv_cfg == dict(type='QuantAdder2d', bits=8, num_scales=1)
    content = torch.load(f'{new}.pth', weights_only=True)
    assert content['meta']['quantization'] == dict(scheme='shared', bits=8, num_scales=1, images=6, split='train',
                                                   source='epoch_1.pth')
    assert content['state_dict']['backbone.layer1.0.conv1.codes'].dtype == torch.int8
    scores = []
    for source in ((config, checkpoint), (f'{new}.py', f'{new}.pth')):
        out = tmp_path / 'predictions.pkl'
        done = tool_here('test.py', *source, '--work-dir', tmp_path / 'test', '--out', out, '--cfg-options',
                         'model.test_cfg.score_thr=0.0')
        assert done.returncode == 0, done.stderr[-3000:]
        scores.append(np.sort(np.concatenate([item['pred_instances']['scores'] for item in
                                              pickle.loads(out.read_bytes())])))
    assert len(scores[0]) == len(scores[1]) > 20
    assert 0 < np.abs(scores[0] - scores[1]).max() < 0.05


def test_a_model_without_adder_layers_is_refused(trained, tool_here, tmp_path):
    done = tool_here('analysis_tools/quantize_adder.py', CONFIG, trained / 'epoch_1.pth', '--out-dir', tmp_path)
    assert done.returncode == 1 and 'the model has no adder layer' in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_foreign_checkpoint_is_refused(adder_run, tool_here, tmp_path):
    config, _ = adder_run
    foreign = tmp_path / 'foreign.pth'
    torch.save({'state_dict': {'weight': torch.zeros(1)}}, foreign)
    done = tool_here('analysis_tools/quantize_adder.py', config, foreign, '--out-dir', tmp_path / 'out')
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'foreign.pth: not a checkpoint of' in done.stderr and '1 are unknown to the model' in done.stderr
