"""tools/analysis_tools/get_cost.py: published figures of whole detectors, all tasks, files, errors."""

import functools
import json
import re

import cv2
import pytest
import torch

from projects.complexity.inputs import build_model
from projects.runtime.config_files import load_config
from projects.runtime.errors import ConfigError, DataError


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('analysis_tools/get_cost.py')


@pytest.fixture(scope='module')
def count(tool, root):
    """Function: name of a config, options of the command line, --cfg-options -> Counted."""
    @functools.cache
    def run(name, *options, checkpoint=None, **cfg_options):
        path = str(root / 'configs' / f'{name}.py')
        return tool.count_config(path, tool.parse_args([path, *options]), checkpoint,
                                 {key.replace('__', '.'): value for key, value in cfg_options.items()})
    return run


# arXiv 2112.13608, table 5: multiplications and additions in G, mJ
@pytest.mark.parametrize('name, options, mul, add, energy', [
    ('adder_fcos_r50_b', dict(model__backbone__conv_cfg=None), 214.7, 214.7, 987.7),
    ('adder_fcos_r50_b', {}, 129.9, 299.5, 750.2),
    ('adder_fcos_r50_fpn', {}, 112.9, 316.5, 702.7)])
def test_published_figures_of_adder_detectors(count, name, options, mul, add, energy):
    counted = count(name, **options)
    assert [counted.cost.mul / 1e9, counted.cost.add / 1e9] == pytest.approx([mul, add], rel=0.01)
    assert counted.cost.energy_mj == pytest.approx(energy, rel=0.01)
    if options == {}:
        head = counted.cost.per_module['bbox_head']
        assert head.mul / 1e9 == pytest.approx(105.22 + 4.37, abs=0.01)
        assert counted.cost.energy_mj * 1e9 == pytest.approx(3.7 * counted.cost.mul + 0.9 * counted.cost.add)


def test_paper_and_true_count_of_the_reversed_pyramid(count):
    """R-PAFPN adds two stride-2 and three, two of them new, 3x3 layers to what the paper counts; a note says so."""
    true, paper = count('adder_fcos_r50'), count('adder_fcos_r50_fpn')
    assert true.cost.mul == paper.cost.mul and true.cost.add > paper.cost.add
    assert true.cost.energy_mj - paper.cost.energy_mj == pytest.approx(28, abs=0.5)
    assert any('adder_fcos_r50_fpn' in note for note in true.notes) and not paper.notes


def test_published_figures_of_dynamic_pyramids(count):
    """At 800 x 1280: all gates open 1017.1 G, all closed 207.07 G (the latter with norms and activations)."""
    counted = count('dyfpn_faster_rcnn_r50', '--shape', '800', '1280')
    opened, [closed] = counted.cost.mul / 1e9, re.findall(r'cheapest: mul ([\d.]+) G', ' '.join(counted.notes))
    assert opened == pytest.approx(1017.1, rel=5e-3)
    assert float(closed) == pytest.approx(207.07, rel=5e-3)
    assert opened - float(closed) == pytest.approx(810.0, abs=0.1)


def test_data_set_runs_what_the_images_choose(count, root, mini_root, tmp_path, monkeypatch):
    """One level open: the mean lies between the extremes by that bank, on images padded as in testing."""
    monkeypatch.setenv('MMDOWNSTREAM_DATA', str(mini_root))
    name, size = 'dyfpn_retinanet_r18_mini', ('--shape', '160', '192')
    closed, opened = (count(name, *size, '--gates', gate) for gate in ('cheapest', 'dearest'))
    model = build_model(load_config(root / 'configs' / f'{name}.py'))
    for index, level in enumerate(model.neck.gates.levels):
        level[-1].weight.data.zero_()
        level[-1].bias.data = torch.tensor([0.0, 1.0 if index == 1 else -1.0])
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'one.pth')
    found = count(name, '--dataset', '2', checkpoint=str(tmp_path / 'one.pth'))
    bank = model.neck.choice_costs([(20, 24), (10, 12), (5, 6)])[1][1]
    assert found.cost.passes == 2 and not found.notes
    assert found.cost.mul == closed.cost.mul + bank < opened.cost.mul
    assert found.cost.params == opened.cost.params > closed.cost.params - closed.cost.params_idle
    with pytest.raises(DataError, match='mini'):
        monkeypatch.setenv('MMDOWNSTREAM_DATA', str(tmp_path))
        count(name, '--dataset')


@pytest.mark.parametrize('name, size, mul', [
    ('mtp_deeplabv3_r18_camvid', '180 x 240', 0.807), ('mtp_deeplabv3_r18_deploy_camvid', '180 x 240', 0.807),
    ('ipt_mini', '24 x 24', 0.1147), ('ghost_edsr_small_x2_t91', '360 x 640', 24.36),
    ('bicubic_x2_t91', '360 x 640', 0), ('mask_group_mini', '8,253 voxels', 0.32)])
def test_configs_of_every_task(count, name, size, mul):
    counted = count(name)
    assert size in counted.what and not counted.cost.uncounted
    assert counted.cost.mul / 1e9 == pytest.approx(mul, rel=0.02)
    assert any('DENSE' in note for note in counted.notes) == ('deploy' in name)


def test_files_and_text(tool, root, tmp_path, capsys):
    names = ['adder_fcos_r18_mini', 'edsr_mini']
    first, second = (str(root / 'configs' / f'{name}.py') for name in names)
    tool.main([first, '--compare', second, '--depth', '1', '--dtype', 'int8', '--json', str(tmp_path / 'c.json'),
               '--picture', str(tmp_path / 'c.png')])
    text = capsys.readouterr().out
    contents = json.loads((tmp_path / 'c.json').read_text())
    assert [content['config'] for content in contents] == names
    for content in contents:
        assert content['energy_mj'] == pytest.approx((0.2 * content['mul'] + 0.03 * content['add']) / 1e9)
        modules = content['per_module']
        assert content['mul'] == sum(part['mul'] for name, part in modules.items() if name and '.' not in name)
    assert f'{contents[1]["mul"] / contents[0]["mul"]:.3f}' in text
    assert 'bbox_head' in text and 'generator' in text and 'conv_cls' not in text
    picture = cv2.imread(str(tmp_path / 'c.png'))
    assert picture.shape[1] == 1800 and len(set(map(tuple, picture[::4, ::4].reshape(-1, 3)))) > 10


def test_errors_name_the_way_out(count):
    with pytest.raises(ConfigError, match='no such config file.*adder_fcos_r50'):
        count('adder_fcos_r5')
    with pytest.raises(ConfigError, match='point clouds.*--dataset'):
        count('mask_group_mini', '--shape', '9', '9')
    with pytest.raises(SystemExit):
        count('edsr_mini', '--shape', '9', '0')
