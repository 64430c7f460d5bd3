"""AdderResNet: what adds and what multiplies, statistics, released checkpoints."""

import subprocess
import sys

import pytest
import torch
from mmdet.models.backbones import ResNet
from mmdet.registry import MODELS
from torch import nn

from projects.adder import Adder2d
from projects.adder_fcos import AdderResNet
from projects.adder_fcos.addernet_checkpoints import convert_addernet
from projects.runtime.errors import CheckpointError


def layers(model, kind):
    return [name for name, module in model.named_modules() if type(module) is kind]


@pytest.mark.parametrize('depth, adders', [(18, 19), (50, 52), (101, 103)])
def test_only_the_stem_multiplies(depth, adders):
    """52 adder layers in depth 50: 16 bottlenecks of 3 and 4 projections (arXiv 1912.13200)."""
    model = AdderResNet(depth)
    assert layers(model, nn.Conv2d) == ['conv1']
    assert len(layers(model, Adder2d)) == adders
    assert all(module.grad_input == 'sign' for module in model.modules() if isinstance(module, Adder2d))


def test_parameters_and_graph_are_those_of_the_convolutional_network():
    ours, conv = AdderResNet(50), ResNet(50)
    assert {n: p.shape for n, p in ours.named_parameters()} == {n: p.shape for n, p in conv.named_parameters()}
    twin = MODELS.build(dict(type='AdderResNet', depth=50, conv_cfg=None))
    twin.load_state_dict(conv.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(twin(x), conv(x), strict=True):
            assert torch.equal(a, b)


def test_statistics_are_never_frozen():
    model = AdderResNet(18)
    model.train()  # mmdet's ResNet returns None from both, train() and eval()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(norm.training and norm.weight.requires_grad for norm in norms)
    before = [norm.running_mean.clone() for norm in norms]
    model(torch.randn(2, 3, 64, 64))
    assert all((norm.running_mean != old).any() for norm, old in zip(norms, before, strict=True))


def test_initialisation():
    """Adder filters N(0, 1) and batch norms at 1 also in the last layer of a block, as in the official code."""
    torch.manual_seed(0)
    model = AdderResNet(50)
    model.init_weights()
    for module in model.modules():
        if isinstance(module, Adder2d):
            assert module.weight.std().item() == pytest.approx(1, abs=0.02)
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()


def official_state(depth):
    """A state as the official repository saves it: DataParallel, `adder`, a classifier with a batch norm."""
    model = AdderResNet(depth)
    state = {}
    for name, value in model.state_dict().items():
        owner = model.get_submodule(name.rpartition('.')[0])
        state['module.' + (name.removesuffix('weight') + 'adder' if isinstance(owner, Adder2d) else name)] = value
    width = 512 if depth < 50 else 2048
    state |= {'module.fc.weight': torch.zeros(1000, width, 1, 1), 'module.fc.bias': torch.zeros(1000)}
    state |= {f'module.bn2.{name}': torch.zeros(1000) for name in ('weight', 'bias', 'running_mean', 'running_var')}
    return model, state


@pytest.mark.parametrize('depth', [18, 50])
def test_converts_official_checkpoints(depth):
    model, state = official_state(depth)
    converted, found = convert_addernet(state)
    assert found == depth
    assert converted.keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in converted.items())


def test_conversion_tool_feeds_init_cfg(tmp_path, root, load_tool, monkeypatch):
    model, state = official_state(18)
    source, target = tmp_path / 'official.pth', tmp_path / 'out' / 'backbone.pth'
    torch.save(state, source)
    script = str(root / 'tools/model_converters/addernet_to_mmdet.py')
    done = subprocess.run([sys.executable, script, str(source), str(target)], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert 'depth=18' in done.stdout
    loaded = MODELS.build(dict(type='AdderResNet', depth=18,
                               init_cfg=dict(type='Pretrained', checkpoint=str(target))))
    loaded.init_weights()
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))
    torch.save({'layer1.0.conv1.weight': torch.zeros(1)}, source)
    monkeypatch.setattr(sys, 'argv', ['tool', str(source), str(target)])
    with pytest.raises(CheckpointError, match=r'official\.pth: no AdderResNet has these parameters'):
        load_tool('model_converters/addernet_to_mmdet.py').main()


def test_other_checkpoints_are_refused():
    with pytest.raises(ValueError, match='depth 18, differs in'):
        convert_addernet({'module.' + name: value for name, value in nn.Conv2d(3, 4, 1).state_dict().items()})
