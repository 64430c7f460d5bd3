"""The metrics in mmengine's evaluator: the papers' protocol, bad input, and two processes.

Run as a script, this file is one of the two processes: `FILE RANK`, with the others' meeting point in the folder.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import METRICS
from mmengine.structures import BaseDataElement
from PIL import Image

from projects.restoration.metrics import PSNR, SSIM
from projects.restoration.quality import psnr, ssim
from projects.runtime.errors import DataError

COUNT = 5


def samples():
    """Five noisy images; the first, which a sampler would repeat, is by far the worst."""
    generator = torch.Generator().manual_seed(0)
    for index in range(COUNT):
        gt = torch.randint(0, 256, (3, 20, 24), generator=generator)
        noise = torch.randn(gt.shape, generator=generator) * (60 if index == 0 else 3 + index)
        yield dict(img_path=f'img{index}.png', gt_img=gt.to(torch.uint8), pred_img=gt + noise)


def evaluate(batches, **options):
    """Scores of batches of data samples, with a metric of each kind."""
    evaluator = Evaluator([dict(type='PSNR', **options), dict(type='SSIM', **options)])
    for batch in batches:
        evaluator.process(data_samples=batch)
    return evaluator.evaluate(size=COUNT)


def pair(gt=(3, 20, 24), pred=(3, 20, 24), **sample):
    return dict(gt_img=torch.full(gt, 100.), pred_img=torch.full(pred, 100.), img_path='set/head.png', **sample)


def value(metric, sample):
    metric.process(None, [sample])
    return metric.evaluate(size=1)[type(metric).__name__]


@pytest.mark.parametrize('scale, expected', [(2, (38.2742, .96144)), (3, (34.7422, .92989)), (4, (32.6336, .90024))])
def test_rcan_scores_what_its_paper_says(shared, scale, expected):
    """The full-size ground truth is cut where the scale does not divide it (510 of 512 pixels at x3)."""
    set5, batches = shared / 'samples' / 'sr' / 'Set5', []
    for file in sorted((set5 / 'HR').glob('*.png')):
        pred = set5 / 'SR_RCAN' / f'X{scale}' / f'{file.stem}x{scale}.png'
        gt, pred = (torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) for path in (file, pred))
        batches.append([BaseDataElement(gt_img=gt, pred_img=pred.float(), metainfo=dict(img_path=str(file)))])
    scores = evaluate(batches, crop_border=scale, prefix='Set5')
    assert list(scores) == ['Set5/PSNR', 'Set5/SSIM']
    assert scores['Set5/PSNR'] == pytest.approx(expected[0], abs=1e-4)
    assert scores['Set5/SSIM'] == pytest.approx(expected[1], abs=1e-5)


def test_mean_over_images_of_the_rounded_luma():
    scores = evaluate([list(samples())[:2], list(samples())[2:]], crop_border=2)
    for name, measure in (('PSNR', psnr), ('SSIM', ssim)):
        expected = [measure(*(image.permute(1, 2, 0).numpy() for image in (
            sample['pred_img'].clamp(0, 255).round().to(torch.uint8), sample['gt_img'])),
            crop_border=2, convert_to='Y') for sample in samples()]
        assert scores[name] == pytest.approx(np.mean(expected), abs=1e-9)
    assert type(scores['PSNR']) is float


def test_without_rounding_and_on_rgb():
    sample = pair()
    sample['pred_img'] += 0.25
    assert value(PSNR(), sample) == float('inf')
    assert value(PSNR(round=False, convert_to=None), sample) == pytest.approx(20 * np.log10(255 / .25))
    sample['pred_img'] = torch.full((3, 20, 24), 300.)
    assert value(PSNR(convert_to=None), sample) == pytest.approx(20 * np.log10(255 / 155))
    assert value(PSNR(round=False, convert_to=None), sample) == pytest.approx(20 * np.log10(255 / 200))


def test_grey_images_are_compared_as_they_are():
    sample = pair(gt=(1, 20, 24), pred=(1, 20, 24))
    sample['pred_img'] += 10
    assert value(PSNR(), sample) == pytest.approx(20 * np.log10(255 / 10))


def test_own_keys_and_elements_and_arrays():
    element = BaseDataElement(hr=np.full((3, 20, 24), 100, np.uint8), sr=torch.full((3, 20, 24), 101.).bfloat16())
    assert value(PSNR(gt_key='hr', pred_key='sr', convert_to=None), element) == pytest.approx(20 * np.log10(255))


def test_one_result_for_each_sample():
    metric = SSIM()
    metric.process(None, list(samples()))
    assert len(metric.results) == COUNT


def test_a_test_set_with_a_prefix_for_each():
    evaluator = Evaluator([dict(type='PSNR', prefix=name) for name in ('Set5', 'Set14')])
    evaluator.process(data_samples=list(samples()))
    assert list(evaluator.evaluate(COUNT)) == ['Set5/PSNR', 'Set14/PSNR']


def test_ground_truth_is_cut_from_the_top_left():
    sample = pair(gt=(3, 23, 26))
    sample['gt_img'][:, 20:] = sample['gt_img'][:, :, 24:] = 0
    assert value(PSNR(), sample) == float('inf')


@pytest.mark.parametrize('sample, message', [
    (pair(pred=(3, 21, 24)), r'image set/head.png: the prediction is \(3, 21, 24\) .* truth \(3, 20, 24\)'),
    (pair(gt=(3, 40, 48)), 'at most 15 pixels larger; does the scale'),
    (pair(gt=(1, 20, 24)), 'Expected equal channels'),
    (pair(gt=(20, 24, 3)), r'set/head.png: gt_img has shape \(20, 24, 3\), expected \(3, H, W\) or \(1, H, W\)'),
    (dict(pred_img=torch.zeros(3, 20, 24)), r"image \(no img_path\): the data sample has no 'gt_img', only"),
    (pair(gt=(3, 10, 20), pred=(3, 10, 20)), 'SSIM: image set/head.png: .* leaves less than 11 x 11'),
])
def test_images_that_cannot_be_compared_are_named(sample, message):
    with pytest.raises(DataError, match=message):
        SSIM().process(None, [sample])


def test_unknown_colour_is_refused_when_built():
    with pytest.raises(ValueError, match="PSNR: convert_to='RGB', expected 'Y' or None"):
        PSNR(convert_to='RGB')


def test_other_scopes_find_them():
    registry = pytest.importorskip('mmdet.registry')
    assert registry.METRICS.get('PSNR') is METRICS.get('PSNR') is PSNR
    assert registry.METRICS.get('SSIM') is SSIM


def test_two_processes_count_each_image_once(tmp_path):
    """Two processes see six samples, the first one twice; the mean is over five."""
    processes = [subprocess.Popen([sys.executable, __file__, str(rank)], cwd=tmp_path, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True) for rank in (0, 1)]
    try:
        outputs = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()  # one waits for the other if that failed
    assert [process.returncode for process in processes] == [0, 0], outputs
    both = [json.loads(out.splitlines()[-1]) for out, _ in outputs]
    assert [part['seen'] for part in both] == [[0, 2, 4], [1, 3, 0]]
    assert both[0]['scores'] == both[1]['scores'] == evaluate([list(samples())])


def run_rank(rank):
    """One of two processes: evaluates its share of the samples and prints what it saw and the scores."""
    from mmengine.dataset import DefaultSampler
    torch.distributed.init_process_group('gloo', init_method=f'file://{Path.cwd() / "meeting"}', rank=rank,
                                         world_size=2)
    data = list(samples())
    seen = list(DefaultSampler(data, shuffle=False))
    scores = evaluate([[data[index]] for index in seen])
    print(json.dumps(dict(seen=seen, scores=scores)))
    torch.distributed.destroy_process_group()


if __name__ == '__main__':
    run_rank(int(sys.argv[1]))
