"""Misspelled keys and types are traced back to their place in the config."""

from pathlib import Path

import pytest
from mmdet.registry import MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader

from projects.runtime.build_errors import config_errors
from projects.runtime.errors import ConfigError

TINY = Path(__file__).parents[1] / 'test_tools' / 'tiny_fcos.py'


@pytest.fixture(scope='module', autouse=True)
def scope():
    init_default_scope('mmdet')


@pytest.fixture
def cfg():
    return Config.fromfile(TINY)


def build(cfg):
    with config_errors(cfg):
        MODELS.build(cfg.model)


def rename(cfg, part, old, new):
    for name in part.split('.'):
        cfg = cfg[name]
    cfg[new] = cfg.pop(old)


def test_the_config_builds(cfg):
    build(cfg)


@pytest.mark.parametrize('part, old, new', [
    ('model.backbone', 'depth', 'dpeth'),
    ('model.backbone', 'out_indices', 'out_indexes'),
    ('model.neck', 'num_outs', 'num_out'),
    ('model.bbox_head', 'strides', 'strids'),             # handed on to a base class
    ('model.bbox_head', 'num_classes', 'num_clases'),     # required: its absence is the complaint
    ('model', 'bbox_head', 'bboxhead'),
    ('model.data_preprocessor', 'pad_size_divisor', 'pad_divisor'),
])
def test_misspelled_key(cfg, part, old, new):
    rename(cfg, part, old, new)
    with pytest.raises(ConfigError) as error:
        build(cfg)
    message = str(error.value)
    assert f'{part}.{new}' in message and str(TINY) in message
    assert old in message


def test_misspelled_key_of_a_layer(cfg):
    cfg.model.backbone.norm_cfg.affin = True
    with pytest.raises(ConfigError, match=r"model\.backbone\.norm_cfg\.affin.*'affine'"):
        build(cfg)


def test_misspelled_type(cfg):
    cfg.model.backbone.type = 'ResNett'
    with pytest.raises(ConfigError, match=r"backbone\.type: there is no 'ResNett'.*'ResNet'"):
        build(cfg)


def test_unknown_type_points_to_custom_imports(cfg):
    cfg.model.backbone.type = 'Qxyzzy'
    with pytest.raises(ConfigError, match='model.backbone.type.*custom_imports'):
        build(cfg)


def test_data_loader_options_are_traced_too(cfg):
    cfg.train_dataloader.batch_sizee = 4
    with pytest.raises(ConfigError, match='train_dataloader.batch_sizee'), config_errors(cfg):
        DataLoader([], batch_sizee=4)


def test_other_errors_keep_their_type(cfg):
    with pytest.raises(TypeError, match='unsupported operand'), config_errors(cfg):
        _ = 1 + 'a'
    with pytest.raises(KeyError), config_errors(cfg):
        raise KeyError('depth')


def test_helper_variables_are_not_named_before_what_is_read(cfg):
    """`load` is a variable of the file; the run reads the copies of it in the data loaders."""
    assert 'load' in cfg
    for step in (cfg.load, cfg.train_dataloader.dataset.pipeline[0]):
        step.on_eror = 'skip'
    with pytest.raises(ConfigError, match=r'py: train_dataloader\.dataset\.pipeline\.0\.on_eror'):
        with config_errors(cfg):
            TRANSFORMS.build(cfg.train_dataloader.dataset.pipeline[0])
