"""Pictures: which versions of an image are shown, which part is enlarged, where files go."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from projects.restoration import (
    RestorationDataSample,
    RestorationVisualizationHook,
    RestorationVisualizer,
    imresize,
    psnr,
)
from projects.restoration.pictures import GAP, LABEL_HEIGHT, busiest_window, comparison, to_uint8, versions
from projects.runtime.errors import ConfigError


def images(scale=2, height=20, width=30):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (scale * height, scale * width, 3), dtype=np.uint8)
    source = imresize(truth, 1 / scale)
    return source, imresize(source, scale), truth


def test_versions_have_one_size_and_carry_their_psnr():
    source, restored, truth = images()
    shown = versions(source, restored, truth)
    value = f'{psnr(restored, truth, crop_border=2, convert_to="Y"):.2f} dB'
    assert [label for label, _ in shown] == ['Input', f'Bicubic {value}', f'Ours {value}', 'Ground truth']
    assert {image.shape for _, image in shown} == {truth.shape}
    assert (shown[0][1][:2, :2] == source[0, 0]).all()  # nearest neighbour
    assert np.array_equal(shown[1][1], restored)
    assert [label for label, _ in versions(source, restored)] == ['Input', 'Bicubic', 'Ours']


def test_denoising_has_no_bicubic_version_and_scores_its_input():
    _, restored, truth = images()
    labels = [label.split()[0] for label, _ in versions(restored, truth, truth)]
    assert labels == ['Input', 'Ours', 'Ground']


def test_the_busiest_part_is_enlarged():
    image = np.full((40, 60, 3), 90, np.uint8)
    image[24:34, 41:53:2] = 255
    top, left = busiest_window(image, 10, 12)
    assert abs(top - 24) <= 1 and abs(left - 41) <= 1
    assert busiest_window(image, 40, 60) == (0, 0)


@pytest.mark.parametrize('height, width', [(40, 60), (12, 12), (9, 100), (700, 900), (100, 9)])
def test_picture_has_a_labelled_column_for_each_version(height, width):
    shown = [(label, np.full((height, width, 3), value, np.uint8)) for label, value in (('a', 10), ('b', 200))]
    picture = comparison(shown)
    panel = (picture.shape[1] - GAP) // 2
    assert panel <= 480 and picture.shape[0] > LABEL_HEIGHT + GAP
    assert (picture[LABEL_HEIGHT + 5, 5] == 10).all() or height < 20
    assert (picture[-3, 3] == 10).all() and (picture[-3, -3] == 200).all()


def test_rounding_is_that_of_the_metric():
    assert to_uint8(torch.tensor([[[-1.0, 0.6, 300.0]]] * 3)).tolist() == [[[0] * 3, [1] * 3, [255] * 3]]


@pytest.fixture
def sample():
    source, restored, truth = (torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in images())
    return RestorationDataSample(metainfo=dict(key='sub/baby', img_path='sub/babyx2.png', scale=2), input=source,
                                 pred_img=restored.float() + 0.3, gt_img=truth)


def runner_for(tmp_path, name):
    dataset = SimpleNamespace(metainfo=dict(dataset_type=name))
    return SimpleNamespace(work_dir=str(tmp_path), timestamp='now', test_dataloader=SimpleNamespace(dataset=dataset),
                           visualizer=RestorationVisualizer())


def test_files_of_a_test_run(tmp_path, sample):
    runner = runner_for(tmp_path, 'Set5')
    hook = RestorationVisualizationHook(draw=True, test_out_dir='painted', pred_out_dir='restored')
    hook.after_test_iter(runner, 0, outputs=[sample])
    restored = cv2.imread(str(tmp_path / 'now/restored/Set5/sub/baby.png'))[..., ::-1]
    assert np.array_equal(restored, images()[1])  # lossless, in the right order of channels
    painted = cv2.imread(str(tmp_path / 'now/painted/Set5/sub/baby.png'))
    expected = comparison(versions(*images()))
    assert np.array_equal(painted[..., ::-1], expected)


def test_nothing_is_drawn_unless_asked(tmp_path, sample):
    RestorationVisualizationHook(test_out_dir='painted').after_test_iter(runner_for(tmp_path, 'Set5'), 0,
                                                                         outputs=[sample])
    assert not list(tmp_path.iterdir())


def test_two_sets_of_one_name(tmp_path, sample):
    hook = RestorationVisualizationHook(draw=True, test_out_dir='painted')
    hook.after_test_iter(runner_for(tmp_path, 'Set5'), 0, outputs=[sample])
    with pytest.raises(ConfigError, match="called 'Set5'"):
        hook.after_test_iter(runner_for(tmp_path, 'Set5'), 0, outputs=[sample])
