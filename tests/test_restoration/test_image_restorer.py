"""`ImageRestorer` and its data preprocessor: ranges, luma, padding, tiles, self-ensemble."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from projects.restoration import (
    EDSR,
    PSNR,
    ImageRestorer,
    RestorationDataPreprocessor,
    RestorationDataSample,
    imresize,
    rgb2ycbcr,
    self_ensemble,
    tiled,
)
from projects.runtime.errors import ConfigError, DataError

ROOT = Path(__file__).resolve().parents[2]
SMALL = dict(type='EDSR', mid_channels=8, num_blocks=2, upscale_factor=2, rgb_range=1.0)
RADIUS = 1 + 2 * 2 + 1 + 1 + 1  # EDSR with two blocks: head, blocks, body's end, upsampler, the last at twice the size


@MODELS.register_module(force=True)
class Nearest(nn.Module):
    """Enlarges by repetition; needs no training."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        self.seen = []

    def forward(self, x):
        self.seen.append(tuple(x.shape))
        return x.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)


def batch(*sizes, scale=2, gt=True, dtype=torch.uint8):
    """What a data loader yields for inputs of these sizes (height, width)."""
    generator = torch.Generator().manual_seed(0)

    def image(height, width):
        return torch.randint(0, 256, (3, height, width), generator=generator).to(dtype)

    samples = [RestorationDataSample(metainfo=dict(img_path=f'{i}.png', key=str(i), scale=scale))
               for i in range(len(sizes))]
    for sample, (height, width) in zip(samples, sizes, strict=True):
        if gt:
            sample.gt_img = image(scale * height, scale * width)
    return dict(inputs=[image(*size) for size in sizes], data_samples=samples)


# ---- data preprocessor

def test_training_batch_is_normalised_on_both_sides():
    data = batch((4, 6), (4, 6))
    raw = [data['inputs'][1].clone(), data['data_samples'][1].gt_img.clone()]
    out = RestorationDataPreprocessor(mean=[1, 2, 3], std=[10, 20, 50])(data, training=True)
    assert out['inputs'].shape == (2, 3, 4, 6)
    mean, std = torch.tensor([1., 2, 3]).view(3, 1, 1), torch.tensor([10., 20, 50]).view(3, 1, 1)
    torch.testing.assert_close(out['inputs'][1], (raw[0] - mean) / std)
    torch.testing.assert_close(out['data_samples'][1].gt_img, (raw[1] - mean) / std)


def test_training_images_of_different_sizes():
    with pytest.raises(DataError, match=r'inputs .*\(4, 6\) of 0.png, \(4, 5\) of 1.png.*SameSourceBatchSampler'):
        RestorationDataPreprocessor()(batch((4, 6), (4, 5)), training=True)


def test_prediction_undoes_normalisation_and_padding():
    """Whatever mean, std and padding, a network that repeats pixels gives the repeated pixels of every input."""
    data = batch((5, 7), (6, 4))
    raw, truth = [image.clone() for image in data['inputs']], data['data_samples'][0].gt_img.clone()
    model = ImageRestorer(dict(type='Nearest', scale=2), data_preprocessor=dict(
        type='RestorationDataPreprocessor', mean=[100, 110, 120], std=[57, 58, 59], pad_size_divisor=4))
    samples = model.val_step(data)
    assert model.generator.seen == [(2, 3, 8, 8)]
    for sample, image in zip(samples, raw, strict=True):
        assert torch.equal(sample.pred_img.round().byte(), image.repeat_interleave(2, -1).repeat_interleave(2, -2))
        assert torch.equal(sample.input, image)
    assert torch.equal(samples[0].gt_img, truth)  # the truth stays for the metrics


def test_predictions_are_clamped_and_not_rounded():
    data = batch((2, 2), dtype=torch.float32)
    data['inputs'][0][:] = torch.tensor([-3.25, 100.25, 300.0]).view(3, 1, 1)
    model = ImageRestorer(dict(type='Nearest', scale=1))
    pred = model.test_step(data)[0].pred_img[:, 0, 0]
    torch.testing.assert_close(pred, torch.tensor([0.0, 100.25, 255.0]), atol=1e-4, rtol=0)


@pytest.mark.parametrize('keep_grey', [True, False])
def test_grey_truths_are_compared_as_grey(keep_grey):
    """In the luma of a grey image copied to RGB, errors are 219/255 as large: 1.32 dB."""
    data = batch((12, 12), scale=1, dtype=torch.float32)
    sample, error = data['data_samples'][0], torch.arange(144.).reshape(12, 12) % 7
    sample.gt_img = torch.full((3, 12, 12), 100.0)
    sample.set_metainfo(dict(gt_is_grey=True))
    data['inputs'][0] = sample.gt_img + error
    model = ImageRestorer(dict(type='Nearest', scale=1), data_preprocessor=dict(
        type='RestorationDataPreprocessor', keep_grey=keep_grey))
    [restored] = model.test_step(data)
    assert restored.pred_img.shape[0] == restored.gt_img.shape[0] == (1 if keep_grey else 3)
    metric = PSNR()
    metric.process(data, [restored.to_dict()])
    expected = 10 * math.log10(255 ** 2 / error.square().mean()) + (0 if keep_grey else 20 * math.log10(255 / 219))
    assert metric.results[0] == pytest.approx(expected, abs=1e-3)


def test_luma_networks_take_their_colour_from_the_bicubic_image():
    data = batch((8, 6))
    data['inputs'][0] = data['inputs'][0] // 4 + 96  # away from the limits, where clamping would change colours
    raw = data['inputs'][0].clone()
    model = ImageRestorer(dict(type='VDSR', num_layers=3, mid_channels=8), data_preprocessor=dict(
        type='RestorationDataPreprocessor', channels='y'))
    model.generator.output.weight.data *= 1e-3
    prepared = model.data_preprocessor(data)
    assert prepared['inputs'].shape == (1, 1, 8, 6)
    luma = model.generator(prepared['inputs']) * 255
    pred = rgb2ycbcr(model(**prepared, mode='predict')[0].pred_img)
    torch.testing.assert_close(pred[0], luma[0, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(pred[1:], rgb2ycbcr(imresize(raw.float(), 2))[1:], atol=1e-3, rtol=0)


def test_loss_of_luma_networks_is_on_luma():
    data = batch((8, 6), scale=3)
    raw, truth = data['inputs'][0].clone(), data['data_samples'][0].gt_img.clone()
    model = ImageRestorer(
        dict(type='VDSR', num_layers=3, mid_channels=8), dict(type='MSELoss', loss_weight=2),
        data_preprocessor=dict(type='RestorationDataPreprocessor', channels='y'))
    nn.init.zeros_(model.generator.output.weight)  # what is left is the bicubic luma, at the batch's scale
    loss = model(**model.data_preprocessor(data, training=True), mode='loss')['loss_pixel']
    low, high = (rgb2ycbcr(image, y_only=True) / 255 for image in (raw, truth))
    torch.testing.assert_close(loss, 2 * (imresize(low, 3) - high).square().mean())


# ---- model

def test_losses():
    data = batch((4, 4))
    model = ImageRestorer(dict(type='Nearest', scale=2), dict(type='L1Loss'))
    enlarged = data['inputs'][0].float().repeat_interleave(2, -1).repeat_interleave(2, -2)
    difference = (enlarged - data['data_samples'][0].gt_img) / 255
    prepared = model.data_preprocessor(data, training=True)
    torch.testing.assert_close(model(**prepared, mode='loss')['loss_pixel'], difference.abs().mean())
    model.pixel_loss = MODELS.build(dict(type='CharbonnierLoss', eps=0.01))
    torch.testing.assert_close(model(**prepared, mode='loss')['loss_pixel'],
                               (difference.square() + 0.01).sqrt().mean())
    model.generator.scale = 3
    with pytest.raises(ValueError, match='scale of the network'):
        model(**prepared, mode='loss')


def test_what_is_said_about_settings():
    def build(**kwargs):
        return ImageRestorer(dict(type='Nearest', scale=2), **kwargs)

    with pytest.raises(ConfigError, match='unknown tiles, expected tile, tile_overlap, self_ensemble'):
        build(test_cfg=dict(tiles=3))
    with pytest.raises(ConfigError, match='tile=30, tile_overlap=8.*multiples of the pad_size_divisor 8'):
        build(test_cfg=dict(tile=30, tile_overlap=8),
              data_preprocessor=dict(type='RestorationDataPreprocessor', pad_size_divisor=8))
    with pytest.raises(ConfigError, match='pixel_loss is not set'):
        build().loss(torch.zeros(1, 3, 2, 2), [])
    with pytest.raises(ValueError, match="channels='grey'"):
        RestorationDataPreprocessor(channels='grey')


# ---- tiles

@pytest.mark.parametrize('size, tile', [((23, 31), 8), ((9, 40), 16), ((16, 16), 16), ((7, 5), 64)])
def test_tiles_give_the_whole_image(size, tile):
    """Seams included, at the borders of the image included, with an overlap of the receptive field's radius."""
    torch.manual_seed(0)
    network, image = EDSR(mid_channels=8, num_blocks=2, upscale_factor=2, rgb_range=1.0), torch.rand(2, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(tiled(network, image, tile, RADIUS), network(image), atol=1e-5, rtol=0)


def test_less_overlap_shows_at_the_seams_and_only_there():
    torch.manual_seed(0)
    network, image = EDSR(mid_channels=8, num_blocks=2, upscale_factor=2, rgb_range=1.0), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        difference = (tiled(network, image, 16, 0) - network(image)).abs().amax(dim=(0, 1))
    assert difference[31:33].max() > 1e-4
    assert difference[:32 - 2 * RADIUS, :32 - 2 * RADIUS].max() < 1e-5


@pytest.mark.parametrize('ensemble', [False, True])
def test_memory_is_bounded_by_the_tile(ensemble):
    """No window is larger than the tile and its surroundings, however large the image."""
    model = ImageRestorer(dict(type='Nearest', scale=3),
                          test_cfg=dict(tile=20, tile_overlap=6, self_ensemble=ensemble))
    data = batch((70, 130), scale=3, gt=False)
    expected = data['inputs'][0].repeat_interleave(3, -1).repeat_interleave(3, -2)
    pred = model.test_step(data)[0].pred_img
    assert torch.equal(pred.round().byte(), expected)
    assert max(max(shape[-2:]) for shape in model.generator.seen) == 32
    assert len(model.generator.seen) == 4 * 7 * (8 if ensemble else 1)


def test_memory_of_a_720p_image_in_tiles():
    """1280 x 720 by EDSR-baseline x4 stays under 2 GiB, libraries included.

    Tiles of 64 pixels take 0.13 GiB of it; the whole image at once would take 0.55 GiB.
    """
    code = """
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
def peak():  # of this program; getrusage would tell the peak of the process that started it, if that is larger
    return int(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])
cfg = Config.fromfile('configs/edsr_baseline_x4.py')
model = MODELS.build(cfg.model | dict(test_cfg=dict(cfg.model.test_cfg, tile=64))).eval()
before = peak()
with torch.no_grad():
    assert model.restore(torch.rand(1, 3, 180, 320)).shape == (1, 3, 720, 1280)
print(before, peak())
"""
    run = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    before, peak = (int(value) * 1024 for value in run.stdout.split())
    assert peak < 2 * 2 ** 30 and peak - before < 0.3 * 2 ** 30


def test_tiles_of_padded_images_fit_the_divisor():
    model = ImageRestorer(
        dict(type='Nearest', scale=1), test_cfg=dict(tile=16, tile_overlap=8),
        data_preprocessor=dict(type='RestorationDataPreprocessor', pad_size_divisor=8, pad_mode='reflect'))
    model.test_step(batch((37, 21), scale=1))
    assert all(side % 8 == 0 for shape in model.generator.seen for side in shape[-2:])


# ---- self-ensemble

def test_self_ensemble_is_the_mean_over_the_eight_symmetries():
    """Written out in the order of the EDSR code."""
    torch.manual_seed(0)
    network, image = EDSR(mid_channels=8, num_blocks=1, upscale_factor=2, rgb_range=1.0), torch.rand(1, 3, 6, 9)
    inputs = [image]
    for turn in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2)):
        inputs += [turn(x) for x in inputs]
    with torch.no_grad():
        outputs = [network(x) for x in inputs]
        for index, output in enumerate(outputs):
            if index > 3:
                output = output.transpose(-1, -2)
            if index % 4 > 1:
                output = output.flip(-2)
            if index % 2 == 1:
                output = output.flip(-1)
            outputs[index] = output
        torch.testing.assert_close(self_ensemble(network, image), torch.stack(outputs).mean(0), atol=1e-6, rtol=0)
        restorer = ImageRestorer(SMALL, test_cfg=dict(self_ensemble=True))
        assert not torch.allclose(restorer.restore(image), restorer.generator(image), atol=1e-4)


def test_self_ensemble_commutes_with_flips():
    torch.manual_seed(0)
    network, image = EDSR(mid_channels=8, num_blocks=1, upscale_factor=3, rgb_range=1.0), torch.rand(1, 3, 5, 7)
    with torch.no_grad():
        out = self_ensemble(network, image)
        torch.testing.assert_close(self_ensemble(network, image.flip(-1).mT), out.flip(-1).mT, atol=1e-5, rtol=0)
