"""The scope in which point-cloud parts are built, whatever ran before in this process, and a converted mini set."""

import pytest
from mmengine.registry import init_default_scope


@pytest.fixture(autouse=True, scope='module')
def point_cloud_scope():
    init_default_scope('mmdet3d')


@pytest.fixture(scope='session')
def mini_indoor(tmp_path_factory, load_tool):
    """A mini indoor set of 3 training, 2 validation rooms and 1 test room, raw and converted; do not change it."""
    root = tmp_path_factory.mktemp('indoor') / 'mini'
    load_tool('dataset_converters/make_mini_indoor.py').generate(root, train=3, val=2, test=1, workers=1,
                                                                 progress=False)
    load_tool('dataset_converters/scannet_to_mmdet3d.py').convert(root, workers=1, progress=False)
    return root
