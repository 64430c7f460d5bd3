"""The commands: dense checkpoint to ghost checkpoint to deployed form; and the benchmark's table."""

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from projects.runtime.errors import CheckpointError, ConfigError

CONFIG = """
custom_imports = dict(imports=['projects.restoration', 'projects.ghost_sr'])
default_scope = 'mmengine'
model = dict(type='ImageRestorer', generator=dict(
    type={!r}, mid_channels=16, num_blocks=2, upscale_factor=2, rgb_range=1.))
"""


@pytest.fixture
def files(tmp_path):
    """Config files of a dense EDSR and its ghost twin, and a checkpoint of the former."""
    for name in ('EDSR', 'GhostEDSR'):
        (tmp_path / f'{name}.py').write_text(CONFIG.format(name))
    torch.manual_seed(0)
    dense = MODELS.build(Config.fromfile(tmp_path / 'EDSR.py').model)
    torch.save(dict(meta={}, state_dict=dense.state_dict()), tmp_path / 'dense.pth')
    return tmp_path


@pytest.fixture
def tool(load_tool):
    return load_tool('model_converters/ghost_sr.py')


def built(config, checkpoint):
    model = MODELS.build(Config.fromfile(config).model).eval()
    model.load_state_dict(torch.load(checkpoint)['state_dict'])
    return model


@pytest.mark.parametrize('form', ['slice', 'fold'])
def test_dense_to_ghost_to_deployed(files, tool, form, capsys):
    ghost = files / 'ghost.pth'
    tool.main(['convert', f'{files}/GhostEDSR.py', f'{files}/dense.pth', str(ghost)])
    assert '4 layers with intrinsic filters chosen' in capsys.readouterr().out
    tool.main(['deploy', f'{files}/GhostEDSR.py', str(ghost), '--out-dir', str(files / 'out'), '--form', form])
    assert f'tools/test.py {files}/out/GhostEDSR_{form}.py' in capsys.readouterr().out
    trained = built(files / 'GhostEDSR.py', ghost)
    deployed = built(files / f'out/GhostEDSR_{form}.py', files / f'out/GhostEDSR_{form}.pth')
    image = torch.rand(1, 3, 9, 8)
    with torch.no_grad():
        torch.testing.assert_close(deployed(image), trained(image), rtol=0, atol=0 if form == 'slice' else 1e-6)
    dense = built(files / 'EDSR.py', files / 'dense.pth').generator
    layer, conv = trained.generator.body[0].body[0], dense.body[0].body[0]
    assert torch.equal(layer.primary_conv.weight, conv.weight[layer.output_index < layer.intrinsic_channels])
    assert torch.equal(trained.generator.tail[1].weight, dense.tail[1].weight)


def test_wrong_files_are_named(files, tool):
    with pytest.raises(ConfigError, match=r'EDSR\.py: its model has no GhostConv2d layers'):
        tool.main(['convert', f'{files}/EDSR.py', f'{files}/dense.pth', f'{files}/x.pth'])
    with pytest.raises(CheckpointError, match=r'dense\.pth: not a checkpoint of'):
        tool.main(['deploy', f'{files}/GhostEDSR.py', f'{files}/dense.pth'])
    tool.main(['convert', f'{files}/GhostEDSR.py', f'{files}/dense.pth', f'{files}/ghost.pth'])
    with pytest.raises(CheckpointError, match=r'ghost\.pth: not the weights of the dense twin'):
        tool.main(['convert', f'{files}/GhostEDSR.py', f'{files}/ghost.pth', f'{files}/x.pth'])
    assert not (files / 'x.pth').exists()


def test_benchmark_prints_and_writes_every_row(load_tool, monkeypatch, tmp_path, capsys):
    tool = load_tool('analysis_tools/benchmark_ghost_sr.py')
    monkeypatch.setattr(tool, 'MODELS', {16: (1, 1.0, 9), 32: (2, 0.1, 7)})
    monkeypatch.setattr(torch, 'set_num_threads', lambda threads: None)  # other tests keep theirs
    tool.main(['--repeats', '1', '--clustered', '--json', str(tmp_path / 'figures.json')])
    rows = json.loads((tmp_path / 'figures.json').read_text())['rows']
    names = ['EDSR', 'ghost, one-hot convolution', 'ghost, deployed (slice)', 'ghost, deployed (fold)']
    assert [(row['features'], row['network']) for row in rows] == [(f, name) for f in (16, 32) for name in names]
    assert all(row['ms'] > 0 for row in rows)
    printed = capsys.readouterr().out
    assert all(printed.count(name) >= 2 for name in names)


@torch.no_grad()
def test_benchmarked_networks_compute_the_same(load_tool, monkeypatch):
    tool = load_tool('analysis_tools/benchmark_ghost_sr.py')
    monkeypatch.setattr(tool, 'MODELS', {16: (3, 0.1, 9)})
    image = torch.rand(1, 3, 8, 9)
    _, *ghosts = (network(image) for network in tool.variants(16, 2, True).values())
    for other in ghosts[1:]:
        torch.testing.assert_close(other, ghosts[0], rtol=0, atol=1e-4)
