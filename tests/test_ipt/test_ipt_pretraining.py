"""Pre-training batches: crops, the task of a batch, what each degradation does."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub

from projects.ipt import (
    BicubicDegradation,
    NoiseDegradation,
    PackScaleCrops,
    RainDegradation,
    TaskCorruptionPreprocessor,
)
from projects.restoration import imresize
from projects.runtime.errors import ConfigError, DataError

DEGRADATIONS = dict(
    sr_x2=dict(type='BicubicDegradation', scale=2), sr_x4=dict(type='BicubicDegradation', scale=4),
    derain=dict(type='RainDegradation'), denoise_s30=dict(type='NoiseDegradation', sigma=30))


@pytest.fixture
def hub(monkeypatch):
    """A message hub of this test's own in place of the current one."""
    hub = MessageHub('test_ipt')
    monkeypatch.setattr(MessageHub, 'get_current_instance', classmethod(lambda cls: hub))
    return hub


def image(height=100, width=130):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def batch(size=3, scales=(1, 2, 4), picture=None):
    pack = PackScaleCrops(patch_size=12, scales=scales)
    picture = image() if picture is None else picture
    return pseudo_collate([pack.transform(dict(gt=picture, gt_path='a.png', key='a', scale=1)) for _ in range(size)])


# ---- crops

def test_one_crop_for_each_scale():
    picture = image()
    packed = PackScaleCrops(patch_size=12).transform(dict(gt=picture, gt_path='a.png', key='a'))
    assert {scale: crop.shape for scale, crop in packed['inputs'].items()} == {
        scale: (3, 12 * scale, 12 * scale) for scale in (1, 2, 3, 4)}
    for crop in packed['inputs'].values():
        places = np.lib.stride_tricks.sliding_window_view(picture, (*crop.shape[1:], 3))
        assert (places[:, :, 0] == crop.permute(1, 2, 0).numpy()).all(axis=(2, 3, 4)).sum() == 1
    assert packed['data_samples'].img_path == 'a.png'


def test_short_images_are_enlarged_bilinearly():
    ramp = np.repeat(np.linspace(0, 200, 20).round().astype(np.uint8)[:, None, None], 60, axis=1).repeat(3, axis=2)
    crop = PackScaleCrops(patch_size=12, scales=[4]).transform(dict(gt=ramp, key='a'))['inputs'][4]
    assert crop.shape == (3, 48, 48)
    assert (crop == crop[:1, :, :1]).all()  # the width is cropped, not squeezed
    column = crop[0, :, 0].int()
    assert column[0] == 0 and column[-1] == 200 and (column.diff() >= 0).all() and column.diff().max() <= 6


# ---- the task

def test_task_follows_from_seed_and_iteration(hub):
    def drawn(seed, steps):
        hub.update_info('seed', seed)
        preprocessor = TaskCorruptionPreprocessor(DEGRADATIONS)
        tasks = []
        for step in steps:
            hub.update_info('iter', step)
            tasks.append(preprocessor.draw_task())
        return tasks

    torch.manual_seed(0)
    tasks = drawn(7, range(400))
    torch.manual_seed(1)
    assert drawn(7, range(200, 400)) == tasks[200:]  # resumed, or another process
    assert drawn(8, range(400)) != tasks
    counts = [tasks.count(task) for task in DEGRADATIONS]
    assert min(counts) > 70 and sum(counts) == 400  # uniform: 100 each, standard deviation 9


def test_every_batch_has_one_task_and_one_size(hub):
    preprocessor, seen = TaskCorruptionPreprocessor(DEGRADATIONS), {}
    for _ in range(30):
        data = batch()
        out = preprocessor(data, training=True)
        [task] = {sample.task for sample in out['data_samples']}
        scale = preprocessor.degradations[task].scale
        assert out['inputs'].shape == (3, 3, 12, 12)
        clean = torch.stack(data['inputs'][scale]).float()
        assert torch.equal(torch.stack([sample.gt_img for sample in out['data_samples']]), clean)
        assert {sample.scale for sample in out['data_samples']} == {scale}
        if task.startswith('sr'):
            assert torch.equal(out['inputs'], BicubicDegradation(scale)(clean))
        seen[task] = None
    assert seen.keys() == DEGRADATIONS.keys()


def test_missing_crops_are_reported(hub):
    preprocessor = TaskCorruptionPreprocessor(dict(sr_x3=dict(type='BicubicDegradation', scale=3)))
    with pytest.raises(ConfigError, match=r'task sr_x3 needs clean crops for scale 3.*scales \[1, 2\].*PackScaleCrops'):
        preprocessor(batch(scales=(1, 2)), training=True)
    with pytest.raises(ConfigError, match='plain images'):
        preprocessor(dict(inputs=[torch.zeros(3, 12, 12)], data_samples=[]), training=True)


# ---- degradations

@pytest.mark.parametrize('scale', [2, 3, 4])
def test_bicubic(scale):
    """MATLAB's kernel, edge pixels repeated, whole numbers in 0..255."""
    clean = image(12 * scale, 12 * scale)
    small = BicubicDegradation(scale)(torch.from_numpy(clean).permute(2, 0, 1)[None].float())
    exact = imresize(clean.astype(np.float64), 1 / scale, border='replicate')
    assert torch.equal(small, small.round()) and small.min() >= 0 and small.max() <= 255
    assert np.abs(small[0].permute(1, 2, 0).numpy() - exact.clip(0, 255)).max() <= 0.5001
    other = imresize(clean.astype(np.float64), 1 / scale, border='symmetric')
    assert np.abs(small[0].permute(1, 2, 0).numpy() - other.clip(0, 255)).max() > 1


@pytest.mark.parametrize('sigma', [30, 50])
def test_noise(sigma):
    noise = NoiseDegradation(sigma)(torch.full((4, 3, 64, 64), 127.0)) - 127
    inner = noise[noise.abs() < 127]
    assert noise.abs().max() <= 128 and not torch.equal(inner, inner.round())
    # the median of |noise| is not touched by clipping
    assert noise.abs().median().item() == pytest.approx(0.6745 * sigma, rel=0.02)
    assert not torch.equal(noise[:, 0], noise[:, 1])


def test_drawn_rain():
    torch.manual_seed(0)
    clean = torch.full((64, 3, 48, 48), 20.0)
    rain = RainDegradation()(clean) - clean
    assert rain.min() >= 0 and rain.max() <= 235  # only brightens, clipped at 255
    assert torch.equal(rain[:, 0], rain[:, 1]) and torch.equal(rain[:, 0], rain[:, 2])
    assert not torch.equal(rain[0], rain[1])
    brightest = rain.flatten(1).max(dim=1).values
    assert brightest.max() <= 0.8 * 255 + 1e-3 and brightest.min() >= 0.3 * 255 - 40
    # steeper than 45 degrees: an image changes more from column to column than from row to row
    across, along = rain.diff(dim=3).abs().mean(dim=(1, 2, 3)), rain.diff(dim=2).abs().mean(dim=(1, 2, 3))
    assert (across > 0.8 * along).float().mean() > 0.95


def test_drawn_streaks_have_the_given_length_and_angle():
    one = RainDegradation(density=1.0, angle=0.0, length=(21, 21), strength=(1, 1))
    line = one._lines(1, reach=15, device=None)[0, 0]
    assert line.sum().item() == pytest.approx(21) and line[:, 15].sum().item() == pytest.approx(21)  # vertical
    turned = RainDegradation(angle=45.0)
    turned._uniform = lambda number, limits, device: torch.full((number, 1, 1, 1), float(limits[1]))
    mass = turned._lines(1, reach=15, device=None)[0, 0].nonzero() - 15
    assert (mass[:, 0] - mass[:, 1]).abs().max() <= 1  # rows go with columns


def test_rain_from_files(tmp_path):
    streaks = np.zeros((60, 70), np.uint8)
    streaks[:, ::7] = 90
    cv2.imwrite(str(tmp_path / 'rainstreak-1.png'), streaks)
    cv2.imwrite(str(tmp_path / 'norain-1.png'), streaks)
    rain = RainDegradation(str(tmp_path))
    assert [file.split('/')[-1] for file in rain.files] == ['rainstreak-1.png']
    added = rain(torch.full((2, 3, 48, 48), 200.0)) - 200
    assert set(added.unique().tolist()) == {0.0, 55.0}  # 200 + 90 is clipped
    assert (added == added[:, :1, :1]).all()  # columns, the same in all channels
    with pytest.raises(DataError, match=r'rainstreak-1.png.*70 x 60.*patch of 96 x 96'):
        rain(torch.zeros(1, 3, 96, 96))
    with pytest.raises(DataError, match='no rain streaks.*streak_dir=None'):
        RainDegradation(str(tmp_path / 'nowhere'))
    (tmp_path / 'rainstreak-1.png').write_bytes(b'')
    with pytest.raises(DataError, match='rainstreak-1.png: cannot be read'):
        RainDegradation(str(tmp_path))(torch.zeros(1, 3, 8, 8))
