"""Config files that cannot be read, and options that do not fit them."""

import pytest
from mmengine.config import Config

from projects.runtime.config_files import check_scope, load_config
from projects.runtime.errors import ConfigError


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'small.py'
    path.write_text("model = dict(type='X', depth=18, strides=[8, 16])\nwork_dir = None\n"
                    "steps = [dict(type='A'), dict(type='B')]\n")
    return path


def test_options_are_merged_and_data_options_left_alone(config):
    cfg = load_config(config, {'model.depth': 50, 'steps.1.type': 'C', 'data_root': '/x/',
                               'load_from': 'y.pth'})
    assert cfg.model.depth == 50 and cfg.steps[1].type == 'C' and cfg.load_from == 'y.pth'
    assert 'data_root' not in cfg


def test_options_below_none(tmp_path):
    """`init_cfg=None` is given a type and a checkpoint, one option after the other."""
    (tmp_path / 'none.py').write_text('model = dict(backbone=dict(init_cfg=None))')
    cfg = load_config(tmp_path / 'none.py', {'model.backbone.init_cfg.type': 'Pretrained',
                                             'model.backbone.init_cfg.checkpoint': 'a.pth'})
    assert cfg.model.backbone.init_cfg == dict(type='Pretrained', checkpoint='a.pth')


def test_missing_file_suggests_its_neighbour(config):
    with pytest.raises(ConfigError, match=r'smal\.py: no such config file.*small\.py'):
        load_config(config.with_name('smal.py'))


def test_syntax_error_names_the_line(tmp_path):
    path = tmp_path / 'broken.py'
    path.write_text('a = 1\nb = (\n')
    with pytest.raises(ConfigError, match=r'broken\.py: line 2'):
        load_config(path)


def test_missing_plugin_names_the_cure(tmp_path):
    path = tmp_path / 'plugin.py'
    path.write_text("custom_imports = dict(imports=['no_such_plugin'], allow_failed_imports=False)")
    with pytest.raises(ConfigError, match='no_such_plugin'):
        load_config(path)


@pytest.mark.parametrize('option, hint', [('modle.depth', "'model'"), ('workdir', "'work_dir'"),
                                          ('custom_hook', "'custom_hooks'")])
def test_misspelled_first_key_is_refused(config, option, hint):
    with pytest.raises(ConfigError, match=f'Did you mean {hint}'):
        load_config(config, {option: 1})


@pytest.mark.parametrize('option', ['steps.5.type', 'model.strides.0', 'model.depth.x'])
def test_option_that_does_not_fit_names_itself(config, option):
    with pytest.raises(ConfigError, match=rf'--cfg-options {option}=1 does not fit'):
        load_config(config, {option: 1})


def test_library_that_is_not_installed(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "mmdownstream\[seg\]"'):
        check_scope(Config(dict(default_scope='mmseg')))
    check_scope(Config(dict(default_scope='mmengine')))


def test_environment_variable_that_is_missing(tmp_path, monkeypatch):
    path = tmp_path / 'variable.py'
    path.write_text("root = '{{$NO_SUCH_VARIABLE:}}/x'")
    monkeypatch.setenv('NO_SUCH_VARIABLE', '')
    with pytest.raises(ConfigError, match=r'variable\.py: .NO_SUCH_VARIABLE. .*counts as missing'):
        load_config(path)
