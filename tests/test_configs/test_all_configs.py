"""What holds for every config of the suite, whatever its task; each task's configs are run in a file of their own."""

from pathlib import Path

import pytest
from config_scopes import CONFIGS, scope_of
from mmengine.config import Config

HERE = Path(__file__).resolve().parent
RUN_BY = dict(mmdet='test_detection_configs.py', mmengine='test_restoration_configs.py',
              mmseg='../test_seg_pruning/test_segmentation_configs.py',
              mmdet3d='../test_point_grouping/test_mask_group.py')
TOKEN_FUSION = dict(mmengine='test_translation_run.py', mmseg='test_tf_segmentor.py', mmdet3d='test_detection3d.py')


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
