"""The scope in which detectors are built, whatever ran before in this process."""

import pytest
from mmengine.registry import init_default_scope


@pytest.fixture(autouse=True, scope='module')
def detection_scope():
    init_default_scope('mmdet')
