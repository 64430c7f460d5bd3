"""What holds for every config of the suite, whatever its task; each task's configs are run in a file of their own."""

import ast
import functools
import inspect
import re
from pathlib import Path

import pytest
from config_scopes import CONFIGS, scope_of
from mmengine.config import Config
from mmengine.runner import Runner

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RUNNER = {*inspect.signature(Runner).parameters, 'tta_model', 'tta_pipeline'}
NAMESAKES = {'L1Loss'}  # of the suite and of mmdet alike
RUN_BY = dict(mmdet='test_detection_configs.py', mmengine='test_restoration_configs.py',
              mmseg='../test_seg_pruning/test_segmentation_configs.py',
              mmdet3d='../test_point_grouping/test_mask_group.py')
TOKEN_FUSION = dict(mmengine='test_translation_run.py', mmseg='test_tf_segmentor.py', mmdet3d='test_detection3d.py')


def with_parents(name):
    """A module of `projects` and the packages above it, which importing it imports."""
    parts = name.split('.')
    return ['.'.join(parts[:depth]) for depth in range(2, len(parts) + 1)] if parts[0] == 'projects' else []


@functools.cache
def imports_of(module):
    """Modules of `projects` named in the import statements at the top of a module's file; None if there is no file."""
    file = ROOT.joinpath(*module.split('.'))
    package = file.is_dir()
    file = file / '__init__.py' if package else file.with_suffix('.py')
    if not file.is_file():
        return None
    found = set()
    for statement in ast.parse(file.read_text(encoding='utf-8')).body:
        if isinstance(statement, ast.Import):
            names = [item.name for item in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            above = module.split('.')[:len(module.split('.')) - statement.level + package] if statement.level else []
            base = '.'.join([*above, *filter(None, [statement.module])])
            names = [base, *(f'{base}.{item.name}' for item in statement.names)]
        else:
            names = []
        found.update(part for name in names for part in with_parents(name))
    return found


@functools.cache
def imported_by(modules):
    """All modules of `projects` that importing some imports."""
    found, waiting = set(), [part for name in modules for part in with_parents(name)]
    while waiting:
        module = waiting.pop()
        if module not in found and imports_of(module) is not None:
            found.add(module)
            waiting += imports_of(module)
    return found


def registered_names(part):
    """Values of `type` and `constructor` anywhere in a config."""
    if isinstance(part, dict):
        own = {value for key, value in part.items() if key in ('type', 'constructor') and isinstance(value, str)}
        return own.union(*map(registered_names, part.values()))
    return set().union(*map(registered_names, part)) if isinstance(part, (list, tuple)) else set()


@functools.cache
def own_classes():
    """Name of each registered class of the suite -> modules that register one of that name."""
    classes = {}
    for file in ROOT.glob('projects/**/*.py'):
        module = '.'.join(file.relative_to(ROOT).with_suffix('').parts)
        for found in re.finditer(r'register_module\(.*?\)\s*\n(?:@.*\n)*(?:class|def) (\w+)', file.read_text()):
            classes.setdefault(found[1], set()).add(module)
    return classes


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def config(request):
    return Config.fromfile(request.param, import_custom_modules=False)


def test_shared_settings(config):
    """A task whose configs are run, a rate that knows its batch size, atomic checkpoints, no fixed work dir."""
    scope = config.default_scope
    assert scope_of(Path(config.filename)) == scope
    of_token_fusion = any(name.startswith('projects.token_fusion') for name in config.custom_imports.imports)
    assert (HERE / '../test_token_fusion' / TOKEN_FUSION[scope] if of_token_fusion else HERE / RUN_BY[scope]).is_file()
    assert config.auto_scale_lr.base_batch_size > 0
    assert config.default_hooks.checkpoint.type == 'AtomicCheckpointHook'
    assert 'work_dir' not in config
    assert config.custom_imports.allow_failed_imports is False and 'projects.runtime' in config.custom_imports.imports
    imported = imported_by(tuple(config.custom_imports.imports))
    used = registered_names({key: value for key, value in config.to_dict().items() if key in RUNNER})
    unknown = {name for name in used & own_classes().keys() - NAMESAKES if not own_classes()[name] & imported}
    assert not unknown, f'{unknown}: the modules under custom_imports do not register them'
